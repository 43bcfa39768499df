import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { exportContents } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { Random, inputState } from "@bolthole/core/testing";
import { Environment } from "./environment.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { checkFolder } from "./maintenance/check.js";
import { noise } from "./testing/noise.js";
import { replaceOrDelete, rowSet } from "./testing/row-sets.js";

/*
 * Reads that fail at random places: in a rule, while a group is gathered, in the reclaimers, while a document or a row set is
 * staged. Whatever fails must change nothing, and whatever succeeds must be whole.
 */

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-failing-reads-"));
});

afterEach(() => {
  jest.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** Lets LMDB report a damaged page in one of `everyNth` reads, while `isArmed` is set. */
class FailingReads {
  isArmed = true;
  failures = 0;

  constructor(random: Random, everyNth: number) {
    const fail = (): void => {
      if (!this.isArmed || random.below(everyNth) > 0) return;
      this.failures += 1;
      throw Object.assign(new Error("MDB_PAGE_NOTFOUND"), { code: -30797 });
    };
    const { get, peek, firstKeys, read } = Environment.prototype;
    jest.spyOn(Environment.prototype, "get").mockImplementation(function (this: Environment, key) {
      fail();
      return get.call(this, key);
    });
    jest.spyOn(Environment.prototype, "peek").mockImplementation(function (this: Environment, key) {
      fail();
      return peek.call(this, key);
    });
    jest.spyOn(Environment.prototype, "firstKeys").mockImplementation(function (this: Environment, start, end, limit) {
      fail();
      return firstKeys.call(this, start, end, limit);
    });
    jest.spyOn(Environment.prototype, "read").mockImplementation(function (this: Environment) {
      const transaction = read.call(this);
      const beforeEach =
        <A extends unknown[], R>(method: (...args: A) => R) =>
        (...args: A): R => {
          fail();
          return method(...args);
        };
      return { ...transaction, get: beforeEach(transaction.get), range: beforeEach(transaction.range) };
    });
  }
}

/** The stored state of one runtime, as its acknowledged changes leave it. */
interface Expected {
  document: Buffer | undefined;
  version: string;
  /** The number of attempts of each input row. */
  inputs: number[];
  receipts: number;
}

const nothing = (): Expected => ({ document: undefined, version: "", inputs: [], receipts: 0 });

/** Makes one random change of a runtime, and returns the state after it. */
async function change(store: EngineStore, runtimeId: RuntimeId, before: Expected, random: Random): Promise<Expected> {
  const { document } = before;
  const seed = random.below(1 << 20);
  const commit = async (
    next: Buffer,
    delta: Parameters<EngineStore["commitSessionSnapshot"]>[0]["sessionDelta"],
  ): Promise<Expected> => {
    const { version } = await store.commitSessionSnapshot({ runtimeId, sessionDelta: delta });
    return { ...before, document: next, version };
  };
  switch (random.below(8)) {
    case 0:
    case 1: {
      const next = noise(random.pick([100, 50_000, 400_000, 1_500_000]), seed);
      return commit(next, { sessionSnapshot: next, profile: "opaque" });
    }
    case 2:
    case 3: {
      if (!document || document.length > 3_000_000) return before;
      // The ranges are in the document twice, so that their nodes get reference counts.
      const at = random.below(document.length);
      const added = noise(2000, seed);
      const next = Buffer.concat([document, added, document.subarray(at)]);
      const pieces = [{ offset: 0, length: document.length }, added, { offset: at, length: document.length - at }];
      const patch = { baseVersion: before.version, resultLength: next.length, resultCrc32: crc32(next), pieces };
      return commit(next, { patch });
    }
    case 4:
      await store.clearSessionSnapshot({ runtimeId });
      return { ...before, document: undefined, version: "" };
    case 5: {
      const count = random.pick([0, 2, 300]);
      const attempts = random.below(100);
      const contents = count === 0 ? undefined : rowSet(runtimeId, count, attempts);
      await replaceOrDelete(store, runtimeId, contents);
      return { ...nothing(), inputs: contents?.inputs.map(() => attempts) ?? [], receipts: count };
    }
    case 6: {
      const serial = random.below(before.inputs.length + 1);
      const attempts = random.below(100);
      await store.persistInputState({ runtimeId, state: inputState(serial, attempts) });
      const inputs = [...before.inputs];
      inputs[serial] = attempts;
      return { ...before, inputs };
    }
    default:
      await store.deleteRuntime({ runtimeId });
      return nothing();
  }
}

async function stored(store: EngineStore, runtimeId: RuntimeId): Promise<Omit<Expected, "version">> {
  const found = await exportContents(store, { runtimeId, salvage: false });
  const snapshot = await store.loadSessionSnapshot({ runtimeId });
  const chunks: Buffer[] = [];
  for await (const chunk of snapshot?.chunks ?? []) chunks.push(Buffer.from(chunk));
  return {
    document: snapshot && Buffer.concat(chunks),
    inputs: found?.inputs.map(({ attemptCount }) => attemptCount) ?? [],
    receipts: found?.receipts.length ?? 0,
  };
}

test.each([1, 2, 3, 4])("reads that fail anywhere leave no half of a change behind (seed %i)", async (seed) => {
  const random = new Random(seed);
  const onFailure = jest.fn();
  const engine = await LmdbEngine.open(folder, { onFailure });
  const store = createEngineStore(engine);
  const reads = new FailingReads(new Random(seed + 1000), 40);
  const expected = new Map<RuntimeId, Expected>(["a", "b", "c"].map((id) => [id, nothing()]));
  let refused = 0;
  for (let round = 0; round < 60; round += 1) {
    await Promise.all(
      [...expected].map(async ([runtimeId, before]) => {
        try {
          expected.set(runtimeId, await change(store, runtimeId, before, random));
        } catch (error) {
          refused += 1;
          expect(error).toMatchObject({ reason: "DAMAGED_RECORD", applied: "no" });
        }
      }),
    );
    // Reclaiming meets failing reads of its own.
    if (round % 5 === 0) await engine.reclaimed();
  }
  reads.isArmed = false;
  expect(refused).toBeGreaterThan(10);
  expect(reads.failures).toBeGreaterThan(refused);
  expect(onFailure).not.toHaveBeenCalled();
  // The first call may wait for work that failed before.
  await engine.reclaimed();
  await engine.reclaimed();
  for (const [runtimeId, { document, inputs, receipts }] of expected) {
    const found = await stored(store, runtimeId);
    expect([found.inputs, found.receipts, found.document?.length]).toEqual([inputs, receipts, document?.length]);
    expect(Buffer.compare(found.document ?? Buffer.of(), document ?? Buffer.of())).toBe(0);
  }
  await engine.close();
  const findings: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => findings.push(finding) });
  expect(findings).toEqual([]);
});
