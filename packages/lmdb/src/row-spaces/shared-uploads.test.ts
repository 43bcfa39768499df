import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommittedInputs } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { inputState, requestIdAt } from "@bolthole/core/testing";
import { LmdbEngine } from "../lmdb-engine.js";

const RT = "runtime";
const ROWS = 600;
const RECORD = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });

let folder: string;
let engine: LmdbEngine;
let store: EngineStore;
let serial = 0;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-shared-uploads-"));
  engine = await LmdbEngine.open(folder);
  store = createEngineStore(engine);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(folder, { recursive: true });
});

const nextRequestId = (): string => requestIdAt(Date.now(), (serial += 1));

async function upload(): Promise<string> {
  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the rows are in memory
  async function* parts() {
    yield Array.from({ length: ROWS }, (_, n) => inputState(n));
  }
  return store.uploadInputStates({ runtimeId: RT, rowCount: ROWS, parts: parts() });
}

const commit = (inputUploadId: string, requestId: string): Promise<CommittedInputs> =>
  store.commitMachineLifecycle({ runtimeId: RT, record: RECORD, inputStates: [], inputUploadId, requestId });

/** Delays the next commit until the returned function is called. */
function delayNextCommit(): () => void {
  let release: () => void = () => undefined;
  const delay = new Promise<void>((resolve) => (release = resolve));
  const original = engine.commit.bind(engine);
  jest.spyOn(engine, "commit").mockImplementationOnce(async (batch) => {
    await delay;
    return original(batch);
  });
  return release;
}

async function storedRows(): Promise<number> {
  let rows = 0;
  for await (const batch of (await store.loadInputStates({ runtimeId: RT })).batches) rows += batch.length;
  return rows;
}

test("a replay does not discard the rows of an upload that another request is committing", async () => {
  const first = nextRequestId();
  await commit(await upload(), first);
  await store.persistInputState({ runtimeId: RT, state: inputState(0, 5) });
  const shared = await upload();
  const release = delayNextCommit();
  const other = commit(shared, nextRequestId());
  expect(await commit(shared, first)).toMatchObject({ replayed: true });
  await engine.reclaimed();
  release();
  expect(await other).toMatchObject({ replayed: false });
  await engine.reclaimed();
  expect(await storedRows()).toBe(ROWS);
});

test("a refused commit does not discard the rows of an upload that another request is committing", async () => {
  const shared = await upload();
  const release = delayNextCommit();
  const other = commit(shared, nextRequestId());
  await store.persistInputState({ runtimeId: RT, state: inputState(0, 5) });
  await expect(commit(shared, nextRequestId())).rejects.toMatchObject({ reason: "UPLOAD_UNKNOWN" });
  // The runtime has no rows again, as when the rows were uploaded.
  await store.deleteRuntime({ runtimeId: RT });
  await engine.reclaimed();
  release();
  await other;
  await engine.reclaimed();
  expect(await storedRows()).toBe(ROWS);
});
