import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { LostFilesError, type EngineStore, createEngineStore } from "@bolthole/core";
import { inputId, inputState } from "@bolthole/core/testing";
import { DiskReservation } from "../disk-reservation.js";
import { Environment } from "../environment.js";
import { LmdbEngine, type LmdbOptions } from "../lmdb-engine.js";
import { noise } from "../testing/noise.js";
import * as folders from "./check.js";
import * as checks from "./check-process.js";

const SECRET = "the deleted text of a session";
const WRITERS = 4;
/** A writer that is never stopped would be a defect of the test. */
const MOST_WRITES = 5_000;

let folder: string;
let engine: LmdbEngine;
let store: EngineStore;
const onFailure = jest.fn();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-compaction-"));
  await open();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
  onFailure.mockReset();
});

async function open(options: LmdbOptions = {}): Promise<void> {
  engine = await LmdbEngine.open(folder, { onFailure, ...options });
  store = createEngineStore(engine);
}

async function reopen(options: LmdbOptions = {}): Promise<void> {
  await engine.close();
  await open(options);
}

const dataFile = (): string => join(folder, "data.mdb");
const has = (text: string): boolean => readFileSync(dataFile()).includes(text);
const scratchFolders = (): string[] => readdirSync(folder).filter((name) => name.startsWith("backup."));

const commitDocument = (runtimeId: string, sessionSnapshot: Uint8Array): Promise<unknown> =>
  store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile: "opaque" } });

async function documentOf(runtimeId: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.loadSessionSnapshot({ runtimeId }))?.chunks ?? [])
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

async function rowIds(runtimeId: string): Promise<string[]> {
  const ids: string[] = [];
  const { batches } = await store.loadInputStates({ runtimeId });
  for await (const rows of batches) ids.push(...rows.map(({ value }) => value.inputId));
  return ids;
}

/** Stores documents, and deletes one of them. */
async function fill(): Promise<void> {
  await commitDocument("kept", noise(2_000_000, 1));
  await commitDocument("deleted", Buffer.concat([Buffer.from(SECRET), noise(8_000_000, 2)]));
  await store.deleteRuntime({ runtimeId: "deleted" });
  await engine.reclaimed();
}

test("a store that is written meanwhile is compacted, and has every acknowledged change", async () => {
  await fill();
  expect(has(SECRET)).toBe(true);
  const isOver = { value: false };
  const written = new Map<string, number>();
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    const runtimeId = `rt ${String(writer)}`;
    for (let serial = 0; serial < MOST_WRITES && !isOver.value; serial += 1) {
      await store.persistInputState({ runtimeId, state: inputState(serial) });
      if (serial % 20 === 0) await commitDocument(runtimeId, noise(40_000, serial));
      written.set(runtimeId, serial);
    }
  });
  const { bytesBefore, bytesAfter, damaged } = await engine.compact({});
  const during = new Map(written);
  isOver.value = true;
  await Promise.all(writers);

  expect([...during.values()].every((serial) => serial > 0)).toBe(true);
  expect([damaged, bytesAfter < bytesBefore, has(SECRET), scratchFolders()]).toEqual([0, true, false, []]);
  const check = async (): Promise<void> => {
    for (const [runtimeId, last] of written) {
      expect(await rowIds(runtimeId)).toEqual(Array.from({ length: last + 1 }, (_, serial) => inputId(serial)));
      expect((await documentOf(runtimeId)).equals(noise(40_000, last - (last % 20)))).toBe(true);
    }
    expect((await documentOf("kept")).equals(noise(2_000_000, 1))).toBe(true);
  };
  await check();
  await reopen({ check: { level: "full", maxBytes: Infinity } });
  await check();
});

test("a read and a document that have begun before end as they began", async () => {
  await fill();
  await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
  const document = (await store.loadSessionSnapshot({ runtimeId: "kept" }))?.chunks[Symbol.asyncIterator]();
  const first = Buffer.from((await document?.next())?.value as Uint8Array);
  await engine.view(async (view) => {
    await engine.compact({});
    await store.persistInputState({ runtimeId: "rt", state: inputState(2) });
    const range = { table: "input", runtimeId: "rt" } as const;
    expect(await view.scan(range, 10)).toHaveLength(1);
  });
  const chunks = [first];
  for (let next = await document?.next(); next?.done === false; next = await document?.next()) {
    chunks.push(Buffer.from(next.value));
  }
  expect(Buffer.concat(chunks).equals(noise(2_000_000, 1))).toBe(true);
  expect(await rowIds("rt")).toHaveLength(2);
});

test("it can be repeated, and a backup and a check follow it", async () => {
  await fill();
  const before = (await engine.stats()).commitSequence;
  for (let round = 0; round < 3; round += 1) await engine.compact({});
  expect((await engine.stats()).commitSequence).toBe(before);
  const copy = await engine.backUp();
  expect(copy.commitSequence).toBe(before);
  await copy.close();
  const findings = jest.fn();
  await engine.check({ onFinding: findings });
  expect(findings).not.toHaveBeenCalled();
});

test("what is staged before is committed afterwards", async () => {
  await fill();
  const bytes = noise(300_000, 9);
  const key = { table: "snapshot", runtimeId: "kept" } as const;
  const staged = await engine.stage(key, undefined, [bytes]);
  await engine.compact({});
  await engine.discard(staged);
  await engine.reclaimed();
  await commitDocument("kept", bytes);
  expect((await documentOf("kept")).equals(bytes)).toBe(true);
});

test("it ends early when its listener aborts, and when the engine closes, and the store is as before", async () => {
  await fill();
  const { ino } = statSync(dataFile());
  const abort = new AbortController();
  const compacting = engine.compact({
    signal: abort.signal,
    onRead: () => {
      abort.abort();
    },
  });
  await expect(compacting).rejects.toMatchObject({ name: "AbortError" });
  expect([statSync(dataFile()).ino, scratchFolders()]).toEqual([ino, []]);
  const closing: Promise<void>[] = [];
  const closed = engine.compact({ onRead: () => closing.push(engine.close()) });
  await expect(closed).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  await Promise.all(closing);
  await open();
  expect([statSync(dataFile()).ino, scratchFolders()]).toEqual([ino, []]);
  expect((await documentOf("kept")).equals(noise(2_000_000, 1))).toBe(true);
});

test("a copy that differs does not take the place of the store", async () => {
  await fill();
  const { ino } = statSync(dataFile());
  const check = checks.checkInProcess;
  let calls = 0;
  jest.spyOn(checks, "checkInProcess").mockImplementation(async (request, listener) => {
    const result = await check(request, listener);
    return (calls += 1) === 1 ? result : { ...result, commitSequence: 0 };
  });
  await expect(engine.compact({})).rejects.toThrow("differs from the store, which was not changed");
  expect(statSync(dataFile()).ino).toBe(ino);
  await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
});

test("an exchange that is refused before it begins changes nothing, and one that fails half way stops the store", async () => {
  await fill();
  const lost = new LostFilesError("the file is gone");
  await reopen({
    replaceDataFile: () => {
      throw lost;
    },
  });
  await expect(engine.compact({})).rejects.toBe(lost);
  await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
  expect(onFailure).not.toHaveBeenCalled();

  await reopen();
  jest.spyOn(Environment.prototype, "continueWith").mockImplementation(() => {
    throw new Error("a defect");
  });
  await expect(engine.compact({})).rejects.toThrow("a defect");
  expect(onFailure).toHaveBeenCalledTimes(1);
  await expect(store.persistInputState({ runtimeId: "rt", state: inputState(2) })).rejects.toMatchObject({
    reason: "SHUTTING_DOWN",
    applied: "no",
  });
  jest.restoreAllMocks();
  await reopen();
  expect(await rowIds("rt")).toEqual([inputId(1)]);
});

test("a first step of the exchange that fails changes nothing", async () => {
  await fill();
  await reopen({
    replaceDataFile: (draft, rename) => {
      rmSync(join(dirname(draft), "lock.mdb"));
      rename();
    },
  });
  const { ino } = statSync(dataFile());
  await expect(engine.compact({})).rejects.toThrow();
  expect([statSync(dataFile()).ino, onFailure.mock.calls, scratchFolders()]).toEqual([ino, [], []]);
  await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
});

test("an error after the exchange stops the store, and the reads of the new file end", async () => {
  await fill();
  const flushPath = folders.flushPath;
  jest.spyOn(folders, "flushPath").mockImplementation(async (path) => {
    if (path === folder) throw Object.assign(new Error("EIO: i/o error"), { errno: -5 });
    await flushPath(path);
  });
  await expect(engine.compact({})).rejects.toMatchObject({ reason: "INTERNAL", variant: "WriteFailed" });
  expect(onFailure).toHaveBeenCalledTimes(1);
  jest.restoreAllMocks();
  await reopen();
  expect((await documentOf("kept")).equals(noise(2_000_000, 1))).toBe(true);
});

test("a cancel in the last moment before the exchange changes nothing", async () => {
  await fill();
  const { ino } = statSync(dataFile());
  const abort = new AbortController();
  const openFile = DiskReservation.openFile.bind(DiskReservation);
  jest.spyOn(DiskReservation, "openFile").mockImplementation((path) => {
    abort.abort();
    return openFile(path);
  });
  await expect(engine.compact({ signal: abort.signal })).rejects.toMatchObject({ name: "AbortError" });
  expect(statSync(dataFile()).ino).toBe(ino);
});

test("a second compaction at the same time is refused, and the first one has every change", async () => {
  await fill();
  const compacting = engine.compact({});
  await expect(engine.compact({})).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
  await compacting;
  expect(await rowIds("rt")).toEqual([inputId(1)]);
});

test("a deleted document that is being read is waited for, and a backup has none that was deleted just before", async () => {
  const secret = Buffer.concat([Buffer.from(SECRET), noise(3_000_000, 3)]);
  await commitDocument("rt", secret);
  const chunks = (await store.loadSessionSnapshot({ runtimeId: "rt" }))?.chunks[Symbol.asyncIterator]();
  await chunks?.next();
  await store.deleteRuntime({ runtimeId: "rt" });
  let isOver = false;
  const compacting = engine.compact({}).then(() => {
    isOver = true;
  });
  await engine.reclaimed();
  await nextTurn();
  expect(isOver).toBe(false);
  for (let next = await chunks?.next(); next?.done === false;) next = await chunks?.next();
  await compacting;
  expect(has(SECRET)).toBe(false);
  await commitDocument("rt", secret);
  await store.deleteRuntime({ runtimeId: "rt" });
  const backup: Uint8Array[] = [];
  for await (const chunk of await engine.backUp()) backup.push(chunk);
  expect(Buffer.concat(backup).includes(SECRET)).toBe(false);
});

test("a store whose changes do not fit into memory is refused as BUSY, and goes on", async () => {
  await fill();
  const { ino } = statSync(dataFile());
  const noteChanges = engine["writer"].environment.noteChanges.bind(engine["writer"].environment);
  jest.spyOn(engine["writer"].environment, "noteChanges").mockImplementation((_, onFull) => noteChanges(1_000, onFull));
  const compacting = expect(engine.compact({})).rejects.toMatchObject({ reason: "BUSY", variant: "WriteFailed" });
  await engine.reclaimed();
  for (let serial = 0; serial < 20; serial += 1) {
    await store.persistInputState({ runtimeId: "rt", state: inputState(serial) });
  }
  await compacting;
  expect([statSync(dataFile()).ino, scratchFolders()]).toEqual([ino, []]);
});

test("the writer waits for the exchange only, and its own work is not refused", async () => {
  await fill();
  const writes: Promise<unknown>[] = [];
  await reopen({
    replaceDataFile: (_, rename) => {
      for (let serial = 0; serial < 10; serial += 1) {
        writes.push(store.persistInputState({ runtimeId: "rt", state: inputState(serial) }));
      }
      rename();
    },
  });
  await engine.compact({});
  await nextTurn();
  await Promise.all(writes);
  expect(await rowIds("rt")).toHaveLength(10);
});
