import { RuntimeStoreAdapter } from "./runtime-store-adapter.js";
import { readFailed } from "./store-error.js";
import type { LoadedInputStates, StoredInputState, VersionedStore } from "./index.js";

const value: StoredInputState = {
  inputId: "0198f01a-0000-7000-8000-000000000001",
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: "2026-05-28T15:31:27Z",
  updatedAt: "2026-05-28T15:31:27Z",
};

/** Returns an adapter whose first loads of input rows end with BUSY after their first batch, and the number of its loads. */
function adapterWithBusyLoads(busy: number): { adapter: RuntimeStoreAdapter; loads: () => number } {
  let loads = 0;
  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous
  async function* batches(isBusy: boolean): LoadedInputStates["batches"] {
    yield [{ value, version: "v.1" }];
    if (isBusy) throw readFailed("BUSY", "rows were written");
  }
  const loadInputStates = (): Promise<LoadedInputStates> => {
    loads += 1;
    return Promise.resolve({ inputsVersion: "v.1", batches: batches(loads <= busy), failures: [] });
  };
  const store = { loadInputStates } as unknown as VersionedStore;
  return { adapter: new RuntimeStoreAdapter(store, "store"), loads: () => loads };
}

test("a load of input rows that ends with BUSY begins again", async () => {
  const { adapter, loads } = adapterWithBusyLoads(2);
  expect(await adapter.loadInputStates("runtime")).toEqual([value]);
  expect(loads()).toBe(3);
});

test("a load of input rows that always ends with BUSY is reported after 8 attempts", async () => {
  const { adapter, loads } = adapterWithBusyLoads(100);
  await expect(adapter.loadInputStates("runtime")).rejects.toMatchObject({ reason: "BUSY" });
  expect(loads()).toBe(8);
});
