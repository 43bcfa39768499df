import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { SqliteConnection, Statement } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";
import { DatabaseProcess } from "./testing/database-process.js";

let folder: string;
let file: string;
let engine: SqliteEngine;
let store: RuntimeStoreAdapter;
let other: DatabaseProcess | undefined;
const onFailure = jest.fn();

async function open(lockWaitMs?: number): Promise<void> {
  engine = await SqliteEngine.open(file, { onFailure, lockWaitMs });
  store = new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-locks-"));
  file = join(folder, "store.sqlite3");
});
afterEach(async () => {
  jest.restoreAllMocks();
  await other?.kill();
  other = undefined;
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
  expect(onFailure).not.toHaveBeenCalled();
});

const write = (runtimeId: string): Promise<void> =>
  store.commitMachineLifecycle(runtimeId, { runtimeState: "idle", binding: {} }, []);
const load = (): Promise<unknown> => store.loadMachineLifecycleRecord("before");
const refusal = (call: Promise<unknown>): Promise<Partial<StoreError>> =>
  call.then(
    () => ({ text: "the call was not refused" }),
    (error: unknown) => error as StoreError,
  );
const BUSY_WRITE = { variant: "WriteFailed", reason: "BUSY", applied: "no", retry: "same_request" };
const BUSY_READ = { variant: "ReadFailed", reason: "BUSY", applied: "no", retry: "same_request" };

describe.each(["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])("another process holds the database by %s", (begin) => {
  test("loads continue while a change waits for it, and the change is applied afterwards", async () => {
    await open(60_000);
    await write("before");
    other = new DatabaseProcess(file);
    await other.exec(begin);
    const exec = jest.spyOn(SqliteConnection.prototype, "exec");
    let isSettled = false;
    const change = write("waiting").finally(() => {
      isSettled = true;
    });
    while (!exec.mock.calls.some(([sql]) => sql === "BEGIN IMMEDIATE")) await new Promise(setImmediate);
    for (let count = 0; count < 20; count += 1) expect(await load()).toBeDefined();
    expect(await engine.stats()).toMatchObject({ formatVersion: 1 });
    expect(isSettled).toBe(false);
    await other.exec("COMMIT");
    await change;
    expect(await store.loadMachineLifecycleRecord("waiting")).toBeDefined();
  });

  test("changes are refused as BUSY when it takes too long, and work again afterwards", async () => {
    await open(100);
    await write("before");
    other = new DatabaseProcess(file);
    await other.exec(begin);
    for (const error of await Promise.all(["a", "b", "c"].map((id) => refusal(write(id))))) {
      expect(error).toMatchObject(BUSY_WRITE);
    }
    expect(await load()).toBeDefined();
    await other.exec("COMMIT");
    await write("a");
  });
});

/** The errors by which the driver reports that a lock was refused. It has no name for the extended code 773. */
const LOCK_ERRORS = [
  { code: "SQLITE_BUSY", rawCode: 5 },
  { code: "SQLITE_BUSY_RECOVERY", rawCode: 261 },
  { code: "SQLITE_BUSY_SNAPSHOT", rawCode: 517 },
  { code: "UNKNOWN_SQLITE_ERROR_773", rawCode: 773 },
  { code: "SQLITE_LOCKED", rawCode: 6 },
  { code: "SQLITE_LOCKED_SHAREDCACHE", rawCode: 262 },
  { code: "SQLITE_PROTOCOL", rawCode: 15 },
].map((codes) => Object.assign(new Error("database is locked"), codes));

function failingExec(pattern: RegExp, cause: Error): void {
  const { exec: real } = SqliteConnection.prototype;
  jest.spyOn(SqliteConnection.prototype, "exec").mockImplementation(function (this: SqliteConnection, sql) {
    return pattern.test(sql) ? Promise.reject(cause) : real.call(this, sql);
  });
}

describe.each(LOCK_ERRORS)("the lock is refused with $code", (cause) => {
  beforeEach(async () => {
    await open(0);
    await write("before");
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    // Nothing of the refused changes is stored, and the store continues.
    expect(await store.loadMachineLifecycleRecord("refused")).toBeUndefined();
    await write("refused");
  });

  test("at the begin of a change and of a load", async () => {
    failingExec(/^BEGIN/, cause);
    expect(await refusal(write("refused"))).toMatchObject(BUSY_WRITE);
    expect(await refusal(load())).toMatchObject(BUSY_READ);
    expect(await refusal(engine.stats())).toMatchObject(BUSY_READ);
  });

  test("at the commit of a change", async () => {
    failingExec(/^COMMIT/, cause);
    expect(await refusal(write("refused"))).toMatchObject(BUSY_WRITE);
  });

  test("by a statement that writes", async () => {
    jest.spyOn(Statement.prototype, "run").mockRejectedValue(cause);
    expect(await refusal(write("refused"))).toMatchObject(BUSY_WRITE);
  });

  test("by a statement that reads", async () => {
    jest.spyOn(Statement.prototype, "get").mockRejectedValue(cause);
    expect(await refusal(write("refused"))).toMatchObject(BUSY_WRITE);
    expect(await refusal(load())).toMatchObject(BUSY_READ);
  });

  test("at the checkpoint of a close, which is no error: everything is in the log", async () => {
    failingExec(/wal_checkpoint/, cause);
    await engine.close();
    jest.restoreAllMocks();
    await open(0);
    expect(await load()).toBeDefined();
  });
});

test("an error of the begin whose code the driver has lost is repeated", async () => {
  await open();
  await write("before");
  const lost = Object.assign(new Error("not an error"), { code: "SQLITE_OK", rawCode: 0 });
  const { exec: real } = SqliteConnection.prototype;
  let failures = 0;
  jest.spyOn(SqliteConnection.prototype, "exec").mockImplementation(function (this: SqliteConnection, sql) {
    if (!sql.startsWith("BEGIN") || failures >= 4) return real.call(this, sql);
    failures += 1;
    return Promise.reject(lost);
  });
  await write("after");
  expect(await load()).toBeDefined();
  expect(failures).toBe(4);
});

test("a database that is locked while it is opened cannot be used, and the message says why", async () => {
  await open();
  await engine.close();
  other = new DatabaseProcess(file);
  await other.exec("BEGIN IMMEDIATE");
  await expect(SqliteEngine.open(file)).rejects.toMatchObject({
    name: "UnusableFileError",
    message: expect.stringContaining("another process has locked it for too long") as string,
  });
});
