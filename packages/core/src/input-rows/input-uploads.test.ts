import type { StoredInputState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { ReadSet } from "../commit/row.js";
import type { Engine } from "../engine.js";
import { DEFAULT_LIMITS, type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputId, inputState } from "../testing/input-states.js";

const RT = "runtime";
const MIB = 1 << 20;
const RECORD = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });

const upload = (store: EngineStore, rows: readonly StoredInputState[], runtimeId = RT): Promise<string> => {
  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the rows are in memory
  async function* parts() {
    yield rows;
  }
  return store.uploadInputStates({ runtimeId, rowCount: rows.length, parts: parts() });
};

const commit = (store: EngineStore, inputUploadId: string) =>
  store.commitMachineLifecycle({ runtimeId: RT, record: RECORD, inputStates: [], inputUploadId });

test("stored rows that are staged beside uploaded ones count for the limit of the other uploads", async () => {
  const store = createEngineStore(new MemoryEngine(), { limits: { ...DEFAULT_LIMITS, inputUploadBytes: 2 * MIB } });
  for (let n = 0; n < 3; n += 1) {
    await store.persistInputState({ runtimeId: RT, state: { ...inputState(n), idempotencyKey: "x".repeat(MIB) } });
  }
  // More than the limit, but only in stored rows: a runtime of any size can be uploaded to.
  const first = await upload(store, [inputState(10)]);
  const busy = { reason: "BUSY", applied: "no", subject: { expected: `at most ${String(2 * MIB)} bytes` } };
  await expect(upload(store, [inputState(11)])).rejects.toMatchObject(busy);
  await commit(store, first);
  await commit(store, await upload(store, [inputState(11)]));
  expect((await store.loadInputState({ runtimeId: RT, inputId: inputId(11) }))?.value).toEqual(inputState(11));
});

/** Changes the stored sequence of an input row, as damage of the disk would. */
async function damageSequence(engine: Engine, n: number): Promise<void> {
  const reads = new ReadSet();
  const handle = reads.add({ table: "input", runtimeId: RT, inputId: inputId(n) });
  await engine.commit({
    reads,
    bytes: 0,
    decide: (rows) => {
      const row = rows.get(handle);
      if (!row) throw new Error("there is no row to damage");
      return {
        writes: [{ handle, row: { ...row, sequence: row.sequence + 7 } }],
        result: undefined,
        freesSpace: false,
      };
    },
  });
}

test("an uploaded row replaces a damaged one that has the same value", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  await store.persistInputState({ runtimeId: RT, state: inputState(1) });
  await damageSequence(engine, 1);
  const { version, keptInputs } = await commit(store, await upload(store, [inputState(1)]));
  expect(keptInputs).toEqual([]);
  expect(await store.loadInputState({ runtimeId: RT, inputId: inputId(1) })).toEqual({ value: inputState(1), version });
});

test("a damaged row that is not uploaded refuses the upload, because a copy must not make it valid", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  await store.persistInputState({ runtimeId: RT, state: inputState(1) });
  await damageSequence(engine, 1);
  await expect(upload(store, [inputState(2)])).rejects.toMatchObject({ reason: "DAMAGED_RECORD" });
});

test("an upload of more rows than a request may have writes all of them, so that the response stays small", async () => {
  const store = createEngineStore(new MemoryEngine(), { limits: { ...DEFAULT_LIMITS, batchRows: 3 } });
  const rows = Array.from({ length: 4 }, (_, n) => inputState(n));
  const first = await commit(store, await upload(store, rows));
  const few = await commit(store, await upload(store, rows.slice(0, 3)));
  expect(few.keptInputs).toHaveLength(3);
  expect(few.inputs?.after).toBe(first.version);
  const many = await commit(store, await upload(store, rows));
  expect(many.keptInputs).toEqual([]);
  expect(many.inputs).toEqual({ before: first.version, after: many.version });
  expect((await store.loadInputState({ runtimeId: RT, inputId: inputId(0) }))?.version).toBe(many.version);
});
