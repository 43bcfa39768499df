import { type StoredInputState, importContents } from "@bolthole/contract";
import type { Engine } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputState } from "../testing/input-states.js";
import { pageSizes, withoutHolding } from "../testing/observed-engine.js";

const RT = "runtime";
const ROWS = 3000;

async function storeWithRows(engine: Engine) {
  const store = createEngineStore(engine);
  const inputs = Array.from({ length: ROWS }, (_, n) => ({ ...inputState(n), idempotencyKey: "x".repeat(3000) }));
  await importContents(store, {
    contents: { runtimeId: RT, session: undefined, lifecycle: undefined, ops: undefined, inputs, receipts: [] },
    overwrite: false,
    dryRun: false,
  });
  return store;
}

test("a load shows the rows of its beginning while another writer replaces rows", async () => {
  const store = await storeWithRows(new MemoryEngine());
  const { batches } = await store.loadInputStates({ runtimeId: RT });
  const loaded: StoredInputState[] = [];
  for await (const batch of batches) {
    for (const { value } of batch) loaded.push(value);
    await store.persistInputState({ runtimeId: RT, state: inputState(ROWS - 1, 9) });
    await store.persistInputState({ runtimeId: RT, state: inputState(ROWS + loaded.length) });
  }
  expect(loaded).toHaveLength(ROWS);
  expect(loaded.at(-1)?.attemptCount).toBe(0);
});

test("a load whose view has ended continues when nothing but other records were written", async () => {
  const store = await storeWithRows(withoutHolding(new MemoryEngine()));
  const { batches } = await store.loadInputStates({ runtimeId: RT });
  let loaded = 0;
  for await (const batch of batches) {
    loaded += batch.length;
    await store.commitSessionSnapshot({
      runtimeId: RT,
      sessionDelta: { sessionSnapshot: Buffer.of(1), profile: "opaque" },
    });
  }
  expect(loaded).toBe(ROWS);
});

test("a load whose view has ended is refused as BUSY when an input row was written", async () => {
  const store = await storeWithRows(withoutHolding(new MemoryEngine()));
  const { batches } = await store.loadInputStates({ runtimeId: RT });
  let attempts = 0;
  const load = async (): Promise<void> => {
    for await (const batch of batches) {
      attempts += batch.length;
      await store.persistInputState({ runtimeId: RT, state: inputState(1, attempts) });
    }
  };
  await expect(load()).rejects.toMatchObject({ reason: "BUSY", variant: "ReadFailed", retry: "same_request" });
});

test("a load reads a page at a time, and none before it is requested", async () => {
  const engine = new MemoryEngine();
  const store = await storeWithRows(engine);
  const sizes = pageSizes(engine);
  const { batches } = await store.loadInputStates({ runtimeId: RT });
  const iterator = batches[Symbol.asyncIterator]();
  await iterator.next();
  expect(sizes).toHaveLength(1);
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
    expect(next.value.length).toBeGreaterThan(0);
  expect(sizes.length).toBeGreaterThan(10);
  expect(Math.max(...sizes)).toBeLessThan(1 << 20);
});
