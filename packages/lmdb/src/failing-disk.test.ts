import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { DiskFailureError, openFailure } from "./disk-errors.js";
import { Environment } from "./environment.js";
import { EnvironmentError } from "./environment-errors.js";
import { UnusableFolderError } from "./format.js";
import { LmdbEngine } from "./lmdb-engine.js";

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

test("after a failed write its batches have an unknown outcome, all others are refused, and the owner is called once", async () => {
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
  expect(await inFlight).toMatchObject({ variant: "WriteFailed", reason: "OUTCOME_UNKNOWN", applied: "unknown" });
  expect(await waiting).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN", applied: "no" });
  expect(await refusal(write("later"))).toMatchObject({ variant: "WriteFailed", reason: "SHUTTING_DOWN" });
  expect(await refusal(store.loadMachineLifecycleRecord("before"))).toMatchObject({
    variant: "ReadFailed",
    reason: "SHUTTING_DOWN",
  });
  expect(await refusal(engine.stats())).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("a read that fails with MDB_PANIC before the writer has failed stops the store", async () => {
  const cause = Object.assign(new Error("MDB_PANIC"), { code: -30795 });
  jest.spyOn(Environment.prototype, "read").mockImplementation(() => {
    throw new EnvironmentError(cause);
  });
  expect(await refusal(store.loadMachineLifecycleRecord("any"))).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(await refusal(write("any"))).toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[cause]]);
});

test("a document that is being read when LMDB panics fails with SHUTTING_DOWN", async () => {
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

test("hundreds of states can be read at the same time, and the writer continues", async () => {
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

test("a read without a free reader slot is refused as BUSY, and the store continues", async () => {
  const cause = Object.assign(new Error("MDB_READERS_FULL"), { code: -30790 });
  jest.spyOn(Environment.prototype, "read").mockImplementationOnce(() => {
    throw new EnvironmentError(cause);
  });
  expect(await refusal(store.loadMachineLifecycleRecord("any"))).toMatchObject({ reason: "BUSY", applied: "no" });
  await write("any");
  expect(onFailure).not.toHaveBeenCalled();
});

test.each([-30796, -30797])("pages that LMDB did not write (%i) are reported as damage", async (code) => {
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
});

const withErrno = (errno: number): Error =>
  Object.assign(new Error("a message of the operating system"), { errno: -errno });
const withCode = (code: number): Error => Object.assign(new Error("a message of LMDB"), { code });

test.each([
  ["a full disk, from Node", withErrno(constants.errno.ENOSPC), UnusableFolderError, "is full"],
  ["a full disk, from LMDB", withCode(constants.errno.ENOSPC), UnusableFolderError, "is full"],
  ["an exceeded disk quota of the user", withErrno(constants.errno.EDQUOT), UnusableFolderError, "is full"],
  ["a read-only disk", withErrno(constants.errno.EROFS), UnusableFolderError, "cannot be written"],
  ["a file that is a folder", withErrno(constants.errno.EISDIR), UnusableFolderError, "cannot be used"],
  ["too few open files", withErrno(constants.errno.EMFILE), UnusableFolderError, "cannot be used"],
  ["an I/O error on a disk with free space", withCode(constants.errno.EIO), DiskFailureError, "failed"],
])("%s at the start is reported with its cause", (_what, error, expected, text) => {
  const failure = openFailure(folder, error) as Error;
  expect(failure).toBeInstanceOf(expected);
  expect(failure.message).toContain(text);
});

test("an error that has nothing to do with the disk is returned unchanged", () => {
  const fault = new TypeError("a programming error");
  expect(openFailure(folder, fault)).toBe(fault);
});
