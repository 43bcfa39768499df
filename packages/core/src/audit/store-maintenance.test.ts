import type { StoreMaintenance, VerifyEvent } from "@bolthole/contract";
import type { BackupCopy, CheckListener, CheckResult, CompactionListener } from "../engine.js";
import { BackupCopies } from "./backup-copies.js";
import { type MaintainedEngine, storeMaintenance } from "./store-maintenance.js";

const CHUNKS = 3;

/** A copy of three chunks. */
class Copy implements BackupCopy {
  isClosed = false;
  constructor(readonly commitSequence: number) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < CHUNKS; at += 1) {
      await Promise.resolve();
      if (this.isClosed) throw new Error("the copy is closed");
      yield Buffer.from(`${String(this.commitSequence)}.${String(at)}`);
    }
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

/** An engine that makes copies, and whose checks last until they are ended. */
class FakeEngine implements MaintainedEngine {
  readonly name = "fake";
  readonly durable = true;
  commitSequence = 1;
  readonly made: Copy[] = [];
  endWork: () => void = () => undefined;
  signal: AbortSignal | undefined;

  stats(): ReturnType<MaintainedEngine["stats"]> {
    return Promise.resolve({ formatVersion: 1, storedBytes: 0, usedBytes: 0, commitSequence: this.commitSequence });
  }

  backUp(): Promise<Copy> {
    const copy = new Copy(this.commitSequence);
    this.made.push(copy);
    return Promise.resolve(copy);
  }

  async check({ onRead, onFinding, signal }: CheckListener): Promise<CheckResult> {
    this.signal = signal;
    onRead?.(1);
    onRead?.(2);
    onFinding({ code: "row-damaged", text: "a finding" });
    await new Promise<void>((resolve) => (this.endWork = resolve));
    return { counts: { runtimes: 1, rows: 2, outcomes: 3 } };
  }

  async compact({
    onRead,
    signal,
  }: CompactionListener): Promise<{ bytesBefore: number; bytesAfter: number; damaged: 0 }> {
    this.signal = signal;
    onRead?.(5);
    await new Promise<void>((resolve) => (this.endWork = resolve));
    return { bytesBefore: 2, bytesAfter: 1, damaged: 0 };
  }
}

const STALL_MS = 5_000;
let engine: FakeEngine;
let now: number;
let copies: BackupCopies;
let maintenance: StoreMaintenance;
beforeEach(() => {
  engine = new FakeEngine();
  now = 0;
  copies = new BackupCopies(engine, () => now);
  maintenance = storeMaintenance(engine);
});

const iterate = <T>(source: AsyncIterable<T>): AsyncIterator<T> => source[Symbol.asyncIterator]();
const make = (): Promise<AsyncIterable<Uint8Array>> => copies.made(() => engine.backUp());
async function textOf(source: AsyncIterable<Uint8Array> | undefined): Promise<string> {
  const texts: string[] = [];
  for await (const chunk of source ?? []) texts.push(Buffer.from(chunk).toString());
  return texts.join(" ");
}

test("readers share a copy until something is committed, each from its beginning, and the last one closes it", async () => {
  const first = iterate(await make());
  await first.next();
  const second = await copies.shared();
  expect(await textOf(second)).toBe("1.0 1.1 1.2");
  expect(engine.made.map(({ isClosed }) => isClosed)).toEqual([false]);
  engine.commitSequence = 2;
  expect(await copies.shared()).toBeUndefined();
  await first.return?.();
  expect(engine.made.map(({ isClosed }) => isClosed)).toEqual([true]);
  engine.commitSequence = 1;
  expect(await copies.shared()).toBeUndefined();
});

test("a third backup waits for readers that take what they get, and takes the place of one that does not", async () => {
  const readers: AsyncIterator<Uint8Array>[] = [];
  for (const sequence of [1, 2]) {
    engine.commitSequence = sequence;
    readers.push(iterate(await make()));
    now += 1;
  }
  engine.commitSequence = 3;
  now = STALL_MS - 1;
  await expect(make()).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  await readers[0]?.next();
  now = STALL_MS + 1;
  expect(await textOf(await make())).toBe("3.0 3.1 3.2");
  expect(engine.made.map(({ isClosed }) => isClosed)).toEqual([false, true, true]);
  await expect(readers[1]?.next()).rejects.toMatchObject({ reason: "CANCELLED" });
  expect(Buffer.from((await readers[0]?.next())?.value as Uint8Array).toString()).toBe("1.1");
});

test("a backup that cannot be made takes the place of none", async () => {
  const readers = [iterate(await make()), iterate(await make())];
  now = STALL_MS;
  await expect(copies.made(() => Promise.reject(new Error("the disk is full")))).rejects.toThrow("the disk is full");
  for (const reader of readers) expect(await reader.next()).toMatchObject({ done: false });
});

test("a copy that fails while it is read is closed, and so is one whose reader has ended", async () => {
  const reader = iterate(await make());
  await engine.made[0]?.close();
  await expect(reader.next()).rejects.toThrow("the copy is closed");
  expect(await copies.shared()).toBeUndefined();
  expect(await textOf(await make())).toBe("1.0 1.1 1.2");
  expect(engine.made[1]?.isClosed).toBe(true);
});

test("a reader of a backup delays neither another backup nor a check", async () => {
  const slow = iterate(await maintenance.backUp());
  await slow.next();
  engine.commitSequence = 2;
  expect(await textOf(await maintenance.backUp())).toBe("2.0 2.1 2.2");
  const events = iterate(maintenance.verify());
  expect(await events.next()).toMatchObject({ value: { bytesRead: 3 } });
  await events.return?.();
  await slow.return?.();
});

test("a slow reader of a check delays nothing when the check has ended", async () => {
  const events = iterate<VerifyEvent>(maintenance.verify());
  await events.next();
  await expect(iterate(maintenance.verify()).next()).rejects.toMatchObject({ reason: "BUSY" });
  await expect(maintenance.backUp()).rejects.toMatchObject({ reason: "BUSY" });
  await expect(iterate(maintenance.compact()).next()).rejects.toMatchObject({ reason: "BUSY" });
  engine.endWork();
  await new Promise(setImmediate);
  expect(await textOf(await maintenance.backUp())).toBe("1.0 1.1 1.2");
  expect(await events.next()).toMatchObject({ value: { finding: { code: "row-damaged" } } });
  expect(await events.next()).toMatchObject({ value: { counts: { rows: 2 } } });
  expect(await events.next()).toMatchObject({ done: true });
});

test("a compaction reports its progress and its result, and is aborted when its reader ends", async () => {
  const events = iterate(maintenance.compact());
  expect(await events.next()).toEqual({ done: false, value: { bytesRead: 5 } });
  engine.endWork();
  expect(await events.next()).toEqual({
    done: false,
    value: { result: { bytesBefore: 2, bytesAfter: 1, damaged: 0 } },
  });
  expect(await events.next()).toMatchObject({ done: true });
  const ended = iterate(maintenance.compact());
  await ended.next();
  await ended.return?.();
  expect(engine.signal?.aborted).toBe(true);
});
