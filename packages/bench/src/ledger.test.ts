import type { StoredInputState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { Ledger } from "./ledger.js";
import { WrongAnswer } from "./wrong-answer.js";

/** A store in a map that can be told to forget the next row it is given. */
function fakeStore(): { store: ConstructorParameters<typeof Ledger>[0]; loseNext: () => void } {
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
        if (!isLosing) rows.set(runtimeId, state);
        isLosing = false;
        return Promise.resolve({ version: "1", replayed: false });
      },
      loadInputState: async ({ runtimeId }) => {
        const value = await loadInputState(runtimeId);
        return value && { value, version: "1" };
      },
    },
  } as ConstructorParameters<typeof Ledger>[0];
  return {
    store,
    loseNext: () => {
      isLosing = true;
    },
  };
}

test("a ledger is content with what it committed, and ends the benchmark over a lost row", async () => {
  const { store, loseNext } = fakeStore();
  const ledger = new Ledger(store, 64);
  await ledger.fill();
  await ledger.verify();
  await ledger.commit(5);
  await ledger.load(5);
  await ledger.verify();
  loseNext();
  await ledger.commit(5);
  await expect(ledger.load(5)).rejects.toThrow(WrongAnswer);
  await expect(ledger.verify()).rejects.toThrow(WrongAnswer);
});

test("each caller of a loop has its runtimes for itself", () => {
  const ledger = new Ledger(fakeStore().store, 128);
  for (const callers of [1, 16, 64]) {
    const owner = new Map<number, number>();
    for (let caller = 0; caller < callers; caller += 1) {
      for (let call = 0; call < 300; call += 1) {
        const runtime = ledger.runtime(callers, caller, call);
        expect(owner.get(runtime) ?? caller).toBe(caller);
        owner.set(runtime, caller);
      }
    }
    expect(owner.size).toBe(128);
  }
});
