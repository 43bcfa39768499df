import type { StoredInputState } from "@bolthole/contract";
import type { Engine } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputState } from "../testing/input-states.js";

const RT = "runtime";
const ROWS = 3000;

/** Returns an engine that holds no view open between two reads, as one with a single connection does. */
const withoutHolding = (engine: Engine): Engine =>
  new Proxy(engine, {
    get: (target, name: keyof Engine) => {
      if (name === "viewHoldMs") return 0;
      const member: unknown = target[name];
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });

async function storeWithRows(engine: Engine) {
  const store = createEngineStore(engine);
  const inputs = Array.from({ length: ROWS }, (_, n) => ({ ...inputState(n), idempotencyKey: "x".repeat(3000) }));
  await store.importRuntime({
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
  const sizes: number[] = [];
  const view = engine.view.bind(engine);
  engine.view = (read) =>
    view((inner) =>
      read({
        ...inner,
        scan: async (range, limit, bytes) => {
          const page = await inner.scan(range, limit, bytes);
          sizes.push(page.reduce((total, { row: { value } }) => total + value.length, 0));
          return page;
        },
      }),
    );
  const { batches } = await store.loadInputStates({ runtimeId: RT });
  const iterator = batches[Symbol.asyncIterator]();
  await iterator.next();
  expect(sizes).toHaveLength(1);
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
    expect(next.value.length).toBeGreaterThan(0);
  expect(sizes.length).toBeGreaterThan(10);
  expect(Math.max(...sizes)).toBeLessThan(1 << 20);
});
