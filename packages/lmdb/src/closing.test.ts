import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { StoreError } from "@bolthole/contract";
import { type EngineStore, LostFilesError, createEngineStore } from "@bolthole/core";
import { testClosing } from "@bolthole/core/testing";
import { Environment } from "./environment.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { noise } from "./testing/noise.js";

testClosing("the LMDB engine", async () => {
  const ofEngine = mkdtempSync(join(tmpdir(), "bolthole-closing-"));
  const engine = await LmdbEngine.open(ofEngine);
  return {
    engine,
    remove: () => {
      rmSync(ofEngine, { recursive: true });
      return Promise.resolve();
    },
  };
});

const DOCUMENT_BYTES = 8 << 20;

let folder: string;
let engine: LmdbEngine;
let store: EngineStore;
const onFailure = jest.fn();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-closing-"));
  engine = await LmdbEngine.open(folder, { onFailure });
  store = createEngineStore(engine);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
  onFailure.mockReset();
});

const commitDocument = (serial: number): Promise<unknown> =>
  store.commitSessionSnapshot({
    runtimeId: `rt ${String(serial)}`,
    sessionDelta: { sessionSnapshot: noise(DOCUMENT_BYTES, serial), profile: "opaque" },
  });

/** Returns the reasons of the calls that were refused. The others were applied. */
async function refusalsOf(calls: readonly Promise<unknown>[]): Promise<string[]> {
  const reasons: string[] = [];
  for (const result of await Promise.allSettled(calls)) {
    if (result.status === "fulfilled") continue;
    if (!(result.reason instanceof StoreError)) throw result.reason;
    reasons.push(result.reason.reason);
  }
  return reasons;
}

test("the file is truncated after everything else, and no call writes then", async () => {
  const events: string[] = [];
  const prototype = await fileHandlePrototype();
  const { truncate } = prototype;
  jest.spyOn(prototype, "truncate").mockImplementation(async function (this: FileHandle, length?: number) {
    events.push("truncate");
    // Nothing may be written in this time.
    for (let turn = 0; turn < 50; turn += 1) await nextTurn();
    await truncate.call(this, length);
    events.push("truncated");
  });
  const write = jest.spyOn(Environment.prototype, "write");
  const close = jest.spyOn(Environment.prototype, "close");
  // One document is being written, and the others follow it as fast as they can.
  let isClosed = false;
  const writers = refusalsOf(
    [0, 1, 2].map(async (writer) => {
      for (let serial = writer; !isClosed; serial += 3) await commitDocument(serial);
    }),
  );
  while (write.mock.calls.length < 3) await nextTurn();
  await engine.close();
  isClosed = true;
  expect(await writers).toEqual(["SHUTTING_DOWN", "SHUTTING_DOWN", "SHUTTING_DOWN"]);
  expect(events).toEqual(["truncate", "truncated"]);
  const [closedAt = 0] = close.mock.invocationCallOrder;
  expect(Math.max(...write.mock.invocationCallOrder)).toBeLessThan(closedAt);
  expect(onFailure).not.toHaveBeenCalled();
  expect(existsSync(join(folder, "running"))).toBe(false);
});

/** Returns the prototype of the class of file handles, which Node does not export. */
async function fileHandlePrototype(): Promise<FileHandle> {
  const file = await open(__filename, "r");
  try {
    return Object.getPrototypeOf(file) as FileHandle;
  } finally {
    await file.close();
  }
}

test("a store that was closed in the middle of large changes has every acknowledged one and no damage", async () => {
  const acknowledged: number[] = [];
  const calls = refusalsOf(
    Array.from({ length: 12 }, async (_, serial) => {
      await commitDocument(serial);
      acknowledged.push(serial);
    }),
  );
  const write = jest.spyOn(Environment.prototype, "write");
  while (write.mock.calls.length < 20) await nextTurn();
  await engine.close();
  expect(new Set(await calls)).toEqual(new Set(["SHUTTING_DOWN"]));

  const findings: string[] = [];
  engine = await LmdbEngine.open(folder, {
    check: { level: "full", maxBytes: Infinity },
    onFinding: ({ text }) => findings.push(text),
  });
  store = createEngineStore(engine);
  expect(findings).toEqual([]);
  for (const serial of acknowledged) {
    const loaded = await store.loadSessionSnapshot({ runtimeId: `rt ${String(serial)}` });
    expect(loaded?.length).toBe(DOCUMENT_BYTES);
  }
});

test("a check is ended with its process, and a backup at each of its steps", async () => {
  await commitDocument(1);
  const copyTo = jest.spyOn(Environment.prototype, "copyTo");
  const checking = engine.check({ onFinding: () => undefined });
  const backingUp = engine.backUp();
  const calls = refusalsOf([checking, backingUp]);
  while (copyTo.mock.calls.length === 0) await nextTurn();
  await engine.close();
  expect(await calls).toEqual(["SHUTTING_DOWN", "SHUTTING_DOWN"]);
  expect(readdirSync(folder).sort()).toEqual(["data.mdb", "format", "lock.mdb"]);
  expect(childrenOf(process.pid)).toEqual([]);
});

test("a backup that is being read is closed, and ends with SHUTTING_DOWN", async () => {
  await commitDocument(1);
  const chunks = (await engine.backUp())[Symbol.asyncIterator]();
  await chunks.next();
  await chunks.next();
  await engine.close();
  await expect(chunks.next()).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
});

test("a document that is being read ends with SHUTTING_DOWN", async () => {
  await commitDocument(1);
  const chunks = (await engine.view((view) => view.document({ table: "snapshot", runtimeId: "rt 1" })))[
    Symbol.asyncIterator
  ]();
  await chunks.next();
  await engine.close();
  await expect(chunks.next()).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
});

test("the reclaimer is stopped after the transaction in progress, and the next start continues", async () => {
  await commitDocument(1);
  await store.deleteRuntime({ runtimeId: "rt 1" });
  const used = (await engine.stats()).usedBytes;
  await engine.close();
  engine = await LmdbEngine.open(folder);
  await engine.reclaimed();
  expect((await engine.stats()).usedBytes).toBeLessThan(used - DOCUMENT_BYTES / 2);
});

test("the reserved space is returned", async () => {
  await commitDocument(1);
  const before = statSync(join(folder, "data.mdb")).size;
  await engine.close();
  expect(statSync(join(folder, "data.mdb")).size).toBeLessThanOrEqual(before - (4 << 20));
});

test("of a store whose files were removed leaves the folder of the same name as it is, and its writes are refused", async () => {
  await engine.close();
  let isLost = false;
  const guard = (): void => {
    if (isLost) throw new LostFilesError("the data file was removed");
  };
  engine = await LmdbEngine.open(folder, { onFailure, guard });
  store = createEngineStore(engine);
  await commitDocument(1);
  isLost = true;
  // A closing engine must look by itself, because no commit may have noticed.
  await engine.close();
  expect(existsSync(join(folder, "running"))).toBe(true);

  isLost = false;
  engine = await LmdbEngine.open(folder, { onFailure, guard });
  store = createEngineStore(engine);
  isLost = true;
  await expect(commitDocument(2)).rejects.toMatchObject({ reason: "SHUTTING_DOWN", applied: "no" });
  await expect(store.loadSessionSnapshot({ runtimeId: "rt 1" })).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(onFailure.mock.calls).toEqual([[expect.any(LostFilesError)]]);
});

/** Returns the ids of the child processes of a process; none on a system without /proc. */
function childrenOf(pid: number): string[] {
  const path = `/proc/${String(pid)}/task/${String(pid)}/children`;
  return existsSync(path) ? readFileSync(path, "utf8").split(" ").filter(Boolean) : [];
}
