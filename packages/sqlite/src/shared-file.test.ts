import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunBoundaryReceipt, RuntimeStoreAdapter, type StoredInputState } from "@bolthole/contract";
import { readMachineLifecycle, readReceipt, writeInputState } from "@bolthole/json";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { SqliteConnection } from "./connection.js";
import { putRawRow } from "./meerkat-file.js";
import { SqliteEngine } from "./sqlite-engine.js";

const FIRST = "0198f01a-0000-7000-8000-000000000001";
const SECOND = "0198f01a-0000-7000-8000-000000000002";
const RUN = "0198f0a0-0000-7000-8000-0000000000c1";
const NOW = "2026-05-28T15:31:27Z";
const row = (inputId: string, attemptCount = 0): StoredInputState => ({
  inputId,
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
const receipt = (sequence: bigint): RunBoundaryReceipt => ({
  runId: RUN,
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 1n,
  sequence,
});
const session = (text: string): Buffer =>
  Buffer.from(
    `{"version":2,"id":"0198f0a0-0000-7000-8000-0000000000aa","messages":[{"role":"user","content":${JSON.stringify(text)},` +
      `"created_at":"${NOW}"}],"created_at":{"secs_since_epoch":1,"nanos_since_epoch":0},` +
      `"updated_at":{"secs_since_epoch":1,"nanos_since_epoch":0},"metadata":{},"usage":{"input_tokens":7,` +
      `"output_tokens":5,"cache_creation_tokens":null,"cache_read_tokens":null}}`,
  );

let folder: string;
let file: string;
let engine: SqliteEngine;
let versioned: EngineStore;
let store: RuntimeStoreAdapter;

const open = async (): Promise<void> => {
  engine = await SqliteEngine.open(file);
  versioned = createEngineStore(engine);
  store = new RuntimeStoreAdapter(versioned, engine.storeId);
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-shared-"));
  file = join(folder, "sessions.sqlite3");
  await open();
  await store.persistInputState("rt", row(FIRST));
  await store.commitSessionSnapshot("rt", { sessionSnapshot: session("ours") });
  await store.atomicApply("rt", undefined, receipt(0n), [], undefined);
  await store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: { fenceToken: 7n } }, []);
});

afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Works on the file over another connection, as the reference does. */
async function otherConnection<T>(work: (connection: SqliteConnection) => Promise<T>): Promise<T> {
  const connection = await SqliteConnection.open(file);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
const putInput = (state: StoredInputState, runtimeId = "rt"): Promise<void> =>
  putRawRow(file, {
    table: "runtime_input_states",
    key: { runtime_id: runtimeId, input_id: state.inputId },
    value: writeInputState(state),
  });

const versionOf = async (inputId: string): Promise<string | undefined> =>
  (await versioned.loadInputState({ runtimeId: "rt", inputId }))?.version;

describe.each([
  ["while the store is open", () => Promise.resolve()],
  [
    "while the store is closed",
    async () => {
      await engine.close();
      await open();
    },
  ],
] as const)("a row that the reference writes %s", (_when, then) => {
  test("is loaded alone and in the list, and can be changed afterwards", async () => {
    const before = await versionOf(FIRST);
    await putInput(row(FIRST, 3));
    await putInput(row(SECOND, 4));
    await then();
    expect((await store.loadInputStates("rt")).map(({ attemptCount }) => attemptCount)).toEqual([3, 4]);
    expect(await versionOf(FIRST)).not.toBe(before);
    expect(await versionOf(SECOND)).toBe(await versionOf(SECOND));
    await store.persistInputState("rt", row(SECOND, 5));
    expect((await store.loadInputStates("rt")).map(({ attemptCount }) => attemptCount)).toEqual([3, 5]);
  });

  test("does not match an expectation of the version before", async () => {
    const version = await versionOf(FIRST);
    await putInput(row(FIRST, 3));
    await then();
    const change = { runtimeId: "rt", state: row(FIRST, 9) };
    const expecting = (expected: string | undefined): Promise<unknown> =>
      versioned.persistInputState({
        ...change,
        expectedVersions: [{ record: "input_state", inputId: FIRST, version: expected }],
      });
    await expect(expecting(version)).rejects.toMatchObject({ reason: "VERSION_CONFLICT" });
    await expecting(await versionOf(FIRST));
    expect((await store.loadInputState("rt", FIRST))?.attemptCount).toBe(9);
  });

  test("is a session with a new version, even when its length is unchanged", async () => {
    const before = await versioned.loadSessionSnapshot({ runtimeId: "rt" });
    const external = session("them");
    expect(external).toHaveLength(session("ours").length);
    await putRawRow(file, { table: "runtime_session_snapshots", key: { runtime_id: "rt" }, value: external });
    await then();
    expect((await versioned.loadSessionSnapshot({ runtimeId: "rt" }))?.version).not.toBe(before?.version);
    expect(Buffer.from((await store.loadSessionSnapshot("rt")) ?? []).equals(external)).toBe(true);
    expect(await store.replaceSessionSnapshotIfCurrent("rt", session("ours"), session("next"))).toBe(false);
    expect(await store.replaceSessionSnapshotIfCurrent("rt", external, session("next"))).toBe(true);
  });

  test("can be cleared, even when the runtime has no other row", async () => {
    await store.clearSessionSnapshot("rt");
    for (const runtimeId of ["one", "two", "three"]) {
      const value = session(runtimeId);
      await putRawRow(file, { table: "runtime_session_snapshots", key: { runtime_id: runtimeId }, value });
      await then();
      expect(await store.clearSessionSnapshotIfCurrent(runtimeId, value)).toBe(true);
      expect(await store.loadSessionSnapshot(runtimeId)).toBeUndefined();
    }
  });

  test("is listed, and disappears when it is deleted", async () => {
    await putInput(row(FIRST), "another\0one");
    await then();
    const listed = async (): Promise<unknown[]> =>
      (await versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map((one) => [
        one.runtimeId,
        one.inputCount,
        one.receiptCount,
        one.hasSessionSnapshot,
      ]);
    expect(await listed()).toEqual([
      ["another\0one", 1, 0, false],
      ["rt", 1, 1, true],
    ]);
    await otherConnection((connection) => connection.exec("DELETE FROM runtime_input_states"));
    await then();
    expect(await listed()).toEqual([["rt", 0, 1, true]]);
    expect(await store.loadInputStates("rt")).toEqual([]);
  });
});

test("our rows are in the tables of the reference and in its form", async () => {
  const [input, receiptRow, snapshot, lifecycle] = await otherConnection(async (connection) => {
    const only = async (sql: string): Promise<unknown[]> => (await (await connection.prepare(sql)).get()) ?? [];
    return [
      await only("SELECT runtime_id, input_id, state_json FROM runtime_input_states"),
      await only("SELECT run_id, sequence, typeof(sequence), receipt_json FROM runtime_boundary_receipts"),
      await only("SELECT session_snapshot FROM runtime_session_snapshots"),
      await only("SELECT runtime_state_json FROM runtime_states"),
    ];
  });
  expect(input).toEqual(["rt", FIRST, writeInputState(row(FIRST))]);
  expect(receiptRow.slice(0, 3)).toEqual([RUN, 0, "integer"]);
  expect(readReceipt(receiptRow[3] as Buffer)).toMatchObject(receipt(0n));
  expect(snapshot).toEqual([session("ours")]);
  expect(readMachineLifecycle(lifecycle[0] as Buffer)).toMatchObject({ runtimeState: "idle" });
});

test("a change waits for another writer that holds the database, and is not lost", async () => {
  await otherConnection(async (other) => {
    await other.exec("BEGIN IMMEDIATE");
    const change = store.persistInputState("rt", row(SECOND));
    // The event loop continues during the wait.
    await new Promise(setImmediate);
    await other.exec("COMMIT");
    await change;
  });
  expect(await store.loadInputStates("rt")).toHaveLength(2);
});

test("a record with fields of a later version is kept until another program replaces it", async () => {
  const record = Buffer.concat([
    (await versioned.loadMachineLifecycleRecord({ runtimeId: "rt" }))?.value ?? Buffer.of(),
    // Field 100, a varint.
    Buffer.of(0xa0, 0x06, 0x01),
  ]);
  await versioned.commitMachineLifecycle({ runtimeId: "rt", record, inputStates: [] });
  const load = async (): Promise<Uint8Array | undefined> =>
    (await versioned.loadMachineLifecycleRecord({ runtimeId: "rt" }))?.value;
  expect(record.equals((await load()) ?? Buffer.of())).toBe(true);
  const json = Buffer.from('{"record_version":1,"runtime_state":"stopped","binding":{}}');
  await putRawRow(file, { table: "runtime_states", key: { runtime_id: "rt" }, value: json });
  expect(record.equals((await load()) ?? Buffer.of())).toBe(false);
});

test("a row that the reference wrote and that cannot be read is reported with the reason, and can be replaced", async () => {
  await putRawRow(file, { table: "runtime_states", key: { runtime_id: "rt" }, value: Buffer.from('"retired"') });
  await expect(store.loadMachineLifecycleRecord("rt")).rejects.toMatchObject({
    reason: "DAMAGED_RECORD",
    text: "stored machine lifecycle record cannot be read: expected an object (byte 0)",
  });
  const input = { runtime_id: "rt", input_id: SECOND };
  await putRawRow(file, { table: "runtime_input_states", key: input, value: Buffer.from("{}") });
  await expect(store.loadInputState("rt", SECOND)).rejects.toMatchObject({
    reason: "DAMAGED_RECORD",
    text: expect.not.stringContaining("checksum") as string,
  });
  await store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: {} }, [row(SECOND)]);
  expect(await store.loadMachineLifecycleRecord("rt")).toBeDefined();
  expect(await store.loadInputState("rt", SECOND)).toMatchObject(row(SECOND));
});
