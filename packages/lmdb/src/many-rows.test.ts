import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReadSet, type WriteBatch, createEngineStore, pagesOf } from "@bolthole/core";
import { Environment } from "./environment.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { IterationCounter, inputId, inputState } from "@bolthole/core/testing";

let folder: string;
let engine: LmdbEngine;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-group-"));
  engine = await LmdbEngine.open(folder);
});

afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const RUNTIME = "r";

/** A batch that increments one number in each of its rows. Its result is the numbers that it found. */
function increment(serials: readonly number[]): WriteBatch<number[]> {
  const reads = new ReadSet();
  const handles = serials.map((serial) => reads.add({ table: "input", runtimeId: RUNTIME, inputId: inputId(serial) }));
  return {
    reads,
    bytes: serials.length,
    decide: (rows, sequence) => {
      const found = handles.map((handle) => rows.get(handle)?.value[0] ?? 0);
      const writes = handles.map((handle, index) => ({
        handle,
        row: { sequence, checksum: 0, value: Buffer.of((found[index] ?? 0) + 1) },
      }));
      return { writes, result: found, freesSpace: false };
    },
  };
}

test("a batch of many rows sees what earlier batches of its group left, and later ones see its rows", async () => {
  const many = Array.from({ length: 1000 }, (_, serial) => serial);
  for (let round = 0; round < 3; round += 1) {
    const before = engine.stats().then(({ commitSequence }) => commitSequence);
    const results = await Promise.all([[7], many, [8], many, [9]].map((serials) => engine.commit(increment(serials))));
    const stored = round * 2;
    const expected = many.map((serial) => stored + (serial >= 7 && serial <= 9 ? round : 0));
    const with7 = expected.map((count, serial) => count + (serial === 7 ? 1 : 0));
    const with8 = with7.map((count, serial) => count + 1 + (serial === 8 ? 1 : 0));
    expect(results).toEqual([[expected[7]], with7, [(with7[8] ?? 0) + 1], with8, [(with8[9] ?? 0) + 1]]);
    expect((await engine.stats()).commitSequence).toBe((await before) + 5);
  }
});

test("the event loop runs while a boundary with many rows is committed", async () => {
  const store = createEngineStore(engine);
  const iterations = new IterationCounter();
  const before = process.cpuUsage();
  await store.atomicApply({
    runtimeId: RUNTIME,
    sessionDelta: undefined,
    sessionStoreKey: undefined,
    receipt: { runId: inputId(1), boundary: "run_start", contributingInputIds: [], messageCount: 0n, sequence: 0n },
    inputUpdates: Array.from({ length: 4096 }, (_, serial) => inputState(serial)),
  });
  const count = iterations.end();
  const { user, system } = process.cpuUsage(before);
  // Each slice is at most a few milliseconds of work.
  expect(count).toBeGreaterThan((user + system) / 1000 / 50);
});

const LONG_BYTES = 300 << 10;

/** Stores ten long rows. */
async function putLongRows(): Promise<void> {
  const reads = new ReadSet();
  const handles = Array.from({ length: 10 }, (_, serial) =>
    reads.add({ table: "input", runtimeId: RUNTIME, inputId: inputId(serial) }),
  );
  await engine.commit({
    reads,
    bytes: 10 * LONG_BYTES,
    decide: (_rows, sequence) => ({
      writes: handles.map((handle) => ({
        handle,
        row: { sequence, checksum: 0, value: Buffer.alloc(LONG_BYTES) },
      })),
      result: undefined,
      freesSpace: false,
    }),
  });
}

test("a page of long rows ends after about 1 MiB, and the event loop runs between two pages", async () => {
  await putLongRows();
  const pages: string[][] = [];
  const iterations = new IterationCounter();
  await engine.view(async (view) => {
    for await (const page of pagesOf(view, { table: "input", runtimeId: RUNTIME })) {
      pages.push(page.map(({ key }) => key.inputId));
    }
  });
  expect(iterations.end()).toBeGreaterThanOrEqual(pages.length - 1);
  expect(pages.map((page) => page.length)).toEqual([4, 4, 2]);
  expect(pages.flat()).toEqual(Array.from({ length: 10 }, (_, serial) => inputId(serial)));
});

test("the deletion of a few long rows does not read their values", async () => {
  await putLongRows();
  const { get } = Environment.prototype;
  let longest = 0;
  jest.spyOn(Environment.prototype, "get").mockImplementation(function (this: Environment, key) {
    const value = get.call(this, key);
    longest = Math.max(longest, value?.length ?? 0);
    return value;
  });
  await engine.commit({
    reads: new ReadSet(),
    bytes: 0,
    decide: () => ({
      writes: [],
      replaceRows: { runtimeId: RUNTIME, rows: undefined },
      result: undefined,
      freesSpace: true,
    }),
  });
  jest.restoreAllMocks();
  expect(longest).toBeLessThan(LONG_BYTES);
  expect(await engine.view((view) => view.scan({ table: "input", runtimeId: RUNTIME }, 1))).toEqual([]);
});
