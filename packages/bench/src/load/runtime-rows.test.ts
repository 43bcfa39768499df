import type { StoredInputState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { IncorrectResponseError } from "./loops.js";
import { RuntimeRows } from "./runtime-rows.js";

/** Makes a store in a map that can lose the next row. */
function fakeStore(): { store: ConstructorParameters<typeof RuntimeRows>[0]; loseNext: () => void } {
  const rows = new Map<string, StoredInputState>();
  const records = new Map<string, Uint8Array>();
  let isLosing = false;
  const loadInputState = (runtimeId: string): Promise<StoredInputState | undefined> =>
    Promise.resolve(rows.get(runtimeId));
  const store = {
    storeId: "",
    commitMachineLifecycle: (runtimeId, commit, [state]) => {
      records.set(runtimeId, encodeLifecycleRecord(commit));
      if (state) rows.set(runtimeId, state);
      return Promise.resolve();
    },
    loadInputState,
    loadMachineLifecycleRecord: (runtimeId) => Promise.resolve(records.get(runtimeId)),
    versioned: {
      persistInputState: ({ runtimeId, state }) => {
        if (!isLosing && state) rows.set(runtimeId, state);
        isLosing = false;
        return Promise.resolve({ version: "1", replayed: false });
      },
      loadInputState: async ({ runtimeId }) => {
        const value = await loadInputState(runtimeId);
        return value && { value, version: "1" };
      },
    },
  } as ConstructorParameters<typeof RuntimeRows>[0];
  return {
    store,
    loseNext: () => {
      isLosing = true;
    },
  };
}

test("committed rows verify, and a lost row is an incorrect response", async () => {
  const { store, loseNext } = fakeStore();
  const rows = new RuntimeRows(store, 64);
  await rows.fill();
  await rows.verify();
  await rows.commit(5);
  await rows.load(5);
  await rows.verify();
  loseNext();
  await rows.commit(5);
  await expect(rows.load(5)).rejects.toThrow(IncorrectResponseError);
  await expect(rows.verify()).rejects.toThrow(IncorrectResponseError);
});

test("no two callers of a loop use the same runtime", () => {
  const rows = new RuntimeRows(fakeStore().store, 128);
  for (const callers of [1, 16, 64]) {
    const owner = new Map<number, number>();
    for (let caller = 0; caller < callers; caller += 1) {
      for (let call = 0; call < 300; call += 1) {
        const runtime = rows.runtime(callers, caller, call);
        expect(owner.get(runtime) ?? caller).toBe(caller);
        owner.set(runtime, caller);
      }
    }
    expect(owner.size).toBe(128);
  }
});
