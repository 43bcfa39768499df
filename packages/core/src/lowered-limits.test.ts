import { DEFAULT_LIMITS, type EngineStore, createEngineStore } from "./engine-store.js";
import { MemoryEngine } from "./memory-engine.js";
import { inputId, inputState } from "./testing/input-states.js";

/** Limits that are lower than everything that is stored. */
const LOW = {
  ...DEFAULT_LIMITS,
  runtimeIdBytes: 64,
  documentBytes: 64,
  operationSnapshotBytes: 64,
  typedOpsSnapshotBytes: 64,
  inputRowBytes: 64,
  oauthSnapshotBytes: 8,
  requestBytes: 1024,
  uploadBytes: 64,
};

const RT = "r".repeat(1000);
const document = Buffer.from(JSON.stringify({ text: "x".repeat(5000) }));
const ops = Buffer.from(
  `{"epoch_id":"${inputId(1)}","authority_state":{"operations":{},"completion_feed_entries":{},"completed_order":[],` +
    `"max_completed":256,"active_count":0,"wait_operation_ids":[],"next_completion_seq":1},"operation_specs":{},` +
    `"completion_entries":[],"cursors":{"agent_applied_cursor":0,"runtime_observed_seq":0,"runtime_last_injected_seq":0}}`,
);

async function filled(engine: MemoryEngine): Promise<void> {
  const store = createEngineStore(engine);
  const receipt = {
    runId: inputId(7),
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: 1n,
    sequence: 1n,
  } as const;
  const sessionDelta = { sessionSnapshot: document, profile: "opaque" } as const;
  await store.commitSessionSnapshot({ runtimeId: RT, sessionDelta });
  await store.persistInputState({ runtimeId: RT, state: inputState(1) });
  await store.atomicApply({
    runtimeId: RT,
    sessionDelta: undefined,
    receipt,
    inputUpdates: [],
    sessionStoreKey: undefined,
  });
  await store.persistOpsLifecycle({ runtimeId: RT, opsDelta: { opsSnapshot: ops } });
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.alloc(100) });
}

async function bytesOf(
  loaded: { readonly chunks: AsyncIterable<Uint8Array> } | undefined,
): Promise<Buffer | undefined> {
  if (!loaded) return undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of loaded.chunks) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

let store: EngineStore;
beforeEach(async () => {
  const engine = new MemoryEngine();
  await filled(engine);
  store = createEngineStore(engine, { limits: LOW });
});

test("everything that is stored can be loaded, listed and exported after the limits were lowered", async () => {
  const runtimeId = RT;
  expect(await bytesOf(await store.loadSessionSnapshot({ runtimeId }))).toEqual(document);
  expect(await bytesOf(await store.loadOpsLifecycleJson({ runtimeId }))).toEqual(ops);
  expect(await store.loadInputState({ runtimeId, inputId: inputId(1) })).toBeDefined();
  const rows: unknown[] = [];
  for await (const batch of (await store.loadInputStates({ runtimeId })).batches) rows.push(...batch);
  expect(rows).toHaveLength(1);
  expect(await store.loadBoundaryReceipt({ runtimeId, runId: inputId(7), sequence: 1n })).toBeDefined();
  expect(await store.loadMachineLifecycleRecord({ runtimeId })).toBeUndefined();
  expect((await store.loadAuthOauthFlowSnapshot({}))?.value).toHaveLength(100);
  expect((await store.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map((one) => one.runtimeId)).toEqual([RT]);
  expect(await store.exportRuntime({ runtimeId, salvage: false })).toMatchObject({ session: { snapshot: document } });
});

test("everything that is stored can be cleared and deleted after the limits were lowered", async () => {
  const runtimeId = RT;
  expect(await store.clearSessionSnapshotIfCurrent({ runtimeId, expected: { document } })).toBeDefined();
  await store.clearSessionSnapshot({ runtimeId });
  expect(await store.loadSessionSnapshot({ runtimeId })).toBeUndefined();
  await store.deleteOpsLifecycle({ runtimeId });
  expect(await store.deleteRuntime({ runtimeId })).toMatchObject({ inputStates: 1, receipts: 1 });
  expect((await store.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes).toEqual([]);
});

test("what comes in is bounded by the lowered limits", async () => {
  const tooLarge = { reason: "TOO_LARGE", applied: "no" };
  const sessionDelta = { sessionSnapshot: document, profile: "opaque" } as const;
  await expect(store.persistInputState({ runtimeId: RT, state: inputState(2) })).rejects.toMatchObject(tooLarge);
  await expect(store.commitSessionSnapshot({ runtimeId: "rt", sessionDelta })).rejects.toMatchObject(tooLarge);
  await expect(store.persistInputState({ runtimeId: "rt", state: inputState(2) })).rejects.toMatchObject(tooLarge);
});
