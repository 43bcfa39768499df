import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { Environment, EnvironmentError } from "./environment.js";
import { UnusableFolderError } from "./format.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { DiskFailureError, openFailure } from "./open-failure.js";

let folder: string;
let engine: LmdbEngine;
let store: RuntimeStoreAdapter;
const onFailure = jest.fn();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-failing-"));
  engine = await LmdbEngine.open(folder, { onFailure });
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

test("after a failed write those in it know nothing, all others are refused, and the owner hears of it once", async () => {
  await write("before");
  let fail: (cause: Error) => void = () => undefined;
  const started = new Promise<void>((resolve) => {
    jest.spyOn(Environment.prototype, "write").mockImplementation(() => {
      resolve();
      return new Promise((_resolve, reject) => {
        fail = reject;
      });
    });
  });
  const inFlight = refusal(write("in flight"));
  await started;
  const waiting = refusal(write("waiting"));
  await new Promise(setImmediate);
  const cause = new Error("the disk");
  fail(cause);
  expect(await inFlight).toMatchObject({ variant: "Internal", reason: "OUTCOME_UNKNOWN", applied: "unknown" });
  expect(await waiting).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN", applied: "no" });
  expect(await refusal(write("later"))).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN" });
  expect(await refusal(store.loadMachineLifecycleRecord("before"))).toMatchObject({
    variant: "ReadFailed",
    reason: "SHUTTING_DOWN",
  });
  expect(await refusal(engine.stats())).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("a reader who meets the library's panic before the writer hears of it stops the store", async () => {
  const cause = Object.assign(new Error("MDB_PANIC"), { code: -30795 });
  jest.spyOn(Environment.prototype, "read").mockImplementation(() => {
    throw new EnvironmentError(cause);
  });
  expect(await refusal(store.loadMachineLifecycleRecord("any"))).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(await refusal(write("any"))).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("a document that is being read when the library panics ends as everything else does", async () => {
  const sessionSnapshot = Buffer.alloc(1 << 20, "document ");
  await store.commitSessionSnapshot("r", { sessionSnapshot, profile: "opaque" });
  const cause = Object.assign(new Error("Invalid argument: MDB_PANIC: Update of meta page failed"), { code: 22 });
  jest.spyOn(Environment.prototype, "get").mockImplementation(() => {
    throw new EnvironmentError(cause);
  });
  expect(await refusal(store.loadSessionSnapshot("r"))).toMatchObject({
    variant: "ReadFailed",
    reason: "SHUTTING_DOWN",
  });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("hundreds of states can be read at one time, and none of them stops the writer", async () => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const views: Promise<void>[] = [];
  for (let state = 0; state < 300; state += 1) {
    await write("r");
    views.push(engine.view(() => held));
  }
  release();
  await Promise.all(views);
  expect(onFailure).not.toHaveBeenCalled();
});

test("a state for which there is no place among the readers is refused as BUSY, and nothing is stopped", async () => {
  const cause = Object.assign(new Error("MDB_READERS_FULL"), { code: -30790 });
  jest.spyOn(Environment.prototype, "read").mockImplementationOnce(() => {
    throw new EnvironmentError(cause);
  });
  expect(await refusal(store.loadMachineLifecycleRecord("any"))).toMatchObject({ reason: "BUSY", applied: "no" });
  await write("any");
  expect(onFailure).not.toHaveBeenCalled();
});

test.each([-30796, -30797])(
  "pages that LMDB did not write (%i) are damage, not a fault of the program",
  async (code) => {
    const broken = (): never => {
      throw Object.assign(new Error("MDB_CORRUPTED"), { code });
    };
    const reading = { get: broken, range: broken, keys: broken, lastKey: broken, done: jest.fn() };
    jest.spyOn(Environment.prototype, "read").mockReturnValue(reading);
    expect(await refusal(store.loadMachineLifecycleRecord("any"))).toMatchObject({ reason: "DAMAGED_RECORD" });
    expect(reading.done).toHaveBeenCalled();
    jest.spyOn(Environment.prototype, "get").mockImplementation(broken);
    expect(await refusal(write("any"))).toMatchObject({ reason: "DAMAGED_RECORD", applied: "no" });
    expect(onFailure).not.toHaveBeenCalled();
  },
);

const withErrno = (errno: number): Error => Object.assign(new Error("what the system says"), { errno: -errno });
const withCode = (code: number): Error => Object.assign(new Error("what LMDB says"), { code });

test.each([
  ["a full disk, from Node", withErrno(constants.errno.ENOSPC), UnusableFolderError, "is full"],
  ["a full disk, from LMDB", withCode(constants.errno.ENOSPC), UnusableFolderError, "is full"],
  ["a spent quota of the user", withErrno(constants.errno.EDQUOT), UnusableFolderError, "is full"],
  ["a read-only disk", withErrno(constants.errno.EROFS), UnusableFolderError, "cannot be written"],
  ["an I/O error where there is room", withCode(constants.errno.EIO), DiskFailureError, "failed"],
])("%s at the start is told as what it is", (_what, error, expected, text) => {
  const failure = openFailure(folder, error) as Error;
  expect(failure).toBeInstanceOf(expected);
  expect(failure.message).toContain(text);
});

test("what is no matter of the disk stays what it was", () => {
  const fault = new TypeError("a fault of the program");
  expect(openFailure(folder, fault)).toBe(fault);
});
