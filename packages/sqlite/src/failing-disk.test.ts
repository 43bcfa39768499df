import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { SqliteConnection, Statement } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";

let folder: string;
let engine: SqliteEngine;
let store: RuntimeStoreAdapter;
const onFailure = jest.fn();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-failing-"));
  engine = await SqliteEngine.open(join(folder, "store.sqlite3"), { onFailure });
  store = new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);
});

afterEach(async () => {
  jest.restoreAllMocks();
  onFailure.mockReset();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

const write = (runtimeId: string): Promise<void> =>
  store.commitMachineLifecycle(runtimeId, { runtimeState: "idle", binding: {} }, []);

const refusal = async (call: Promise<unknown>): Promise<StoreError> =>
  call.then(
    () => {
      throw new Error("the call was not refused");
    },
    (error: unknown) => error as StoreError,
  );

/** Lets the statements that match fail as on a broken disk. */
function failing(pattern: RegExp, cause: Error): void {
  const { exec: real } = SqliteConnection.prototype;
  jest.spyOn(SqliteConnection.prototype, "exec").mockImplementation(function (this: SqliteConnection, sql) {
    return pattern.test(sql) ? Promise.reject(cause) : real.call(this, sql);
  });
}

test("after a failed commit its batches are unknown, every later write and read is refused, and the owner is called once", async () => {
  await write("before");
  const cause = new Error("the disk");
  failing(/^COMMIT/, cause);
  const [first, second] = await Promise.all([refusal(write("a")), refusal(write("b"))]);
  for (const error of [first, second]) {
    expect(error).toMatchObject({ variant: "WriteFailed", reason: "OUTCOME_UNKNOWN", applied: "unknown" });
  }
  jest.restoreAllMocks();
  expect(await refusal(write("later"))).toMatchObject({
    variant: "WriteFailed",
    reason: "SHUTTING_DOWN",
    applied: "no",
  });
  expect(await refusal(store.loadMachineLifecycleRecord("before"))).toMatchObject({
    variant: "ReadFailed",
    reason: "SHUTTING_DOWN",
  });
  expect(await refusal(engine.stats())).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("a statement that fails inside the transaction fails the whole group, and nothing of it is stored", async () => {
  const cause = new Error("the disk");
  const run = jest.spyOn(Statement.prototype, "run").mockImplementation(() => Promise.reject(cause));
  expect(await refusal(write("a"))).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  run.mockRestore();
  await engine.close();
  engine = await SqliteEngine.open(join(folder, "store.sqlite3"));
  store = new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);
  expect(await store.loadMachineLifecycleRecord("a")).toBeUndefined();
});

test("a row that cannot be read inside the transaction fails the whole group", async () => {
  const cause = new Error("the disk");
  jest.spyOn(Statement.prototype, "get").mockImplementation(() => Promise.reject(cause));
  expect(await refusal(write("a"))).toMatchObject({ reason: "OUTCOME_UNKNOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("another process that writes for too long refuses the waiting batches, and the store continues", async () => {
  failing(/^BEGIN/, Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" }));
  expect(await refusal(write("a"))).toMatchObject({ reason: "BUSY", applied: "no" });
  jest.restoreAllMocks();
  await write("a");
  expect(onFailure).not.toHaveBeenCalled();
});
