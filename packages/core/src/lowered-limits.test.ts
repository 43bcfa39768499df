import { createHash } from "node:crypto";
import { type RuntimePart, exportContents } from "@bolthole/contract";
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
  expect(await exportContents(store, { runtimeId, salvage: false })).toMatchObject({ session: { snapshot: document } });
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

describe("an import", () => {
  const CHUNK = Buffer.alloc(16, " ");
  let taken = 0;

  /** Yields the chunks of an endless document. */
  async function* endless(kind: "session" | "ops"): AsyncGenerator<RuntimePart> {
    for (taken = 0; taken < 1000; taken += 1) {
      yield await Promise.resolve(
        kind === "session" ? { kind, chunk: CHUNK, profile: "opaque" } : { kind, chunk: CHUNK },
      );
    }
  }
  const importOf = (target: EngineStore, parts: AsyncIterable<RuntimePart>): Promise<unknown> =>
    target.importRuntime({ runtimeId: "rt", parts, overwrite: false, dryRun: false });

  test.each(["session", "ops"] as const)("takes no more of a document than its limit (%s)", async (kind) => {
    await expect(importOf(store, endless(kind))).rejects.toMatchObject({ reason: "TOO_LARGE", applied: "no" });
    expect(taken).toBe(LOW.documentBytes / CHUNK.length);
  });

  test("shares the bytes of arriving documents with uploads, and gives them back", async () => {
    const shared = createEngineStore(new MemoryEngine(), {
      limits: { ...LOW, documentBytes: 4096, uploadBytes: 5000 },
    });
    const fits = document.subarray(0, 4000);
    const sha256 = createHash("sha256").update(fits).digest();
    async function* fitting(): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(fits);
    }
    for (let round = 0; round < 3; round += 1) {
      let refused: unknown;
      async function* resting(): AsyncGenerator<RuntimePart> {
        yield { kind: "session", profile: "opaque", chunk: fits };
        // While these bytes wait, an upload of as many is refused.
        refused = await shared
          .uploadSessionSnapshot({ runtimeId: "rt", length: fits.length, sha256, chunks: fitting() })
          .catch((error: unknown) => error);
        throw new Error("the client is gone");
      }
      await expect(importOf(shared, resting())).rejects.toThrow("the client is gone");
      expect(refused).toMatchObject({ reason: "BUSY" });
    }
    await shared.uploadSessionSnapshot({ runtimeId: "rt", length: fits.length, sha256, chunks: fitting() });
  });
});
