import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Finding, type RuntimeContents, emptyContents, exportContents, isDamageFinding } from "@bolthole/contract";
import { type EngineStore, ReadSet, type RowSlice, type StagedRows, createEngineStore, pagesOf } from "@bolthole/core";
import { encodeCounter } from "../counter.js";
import { Environment, type Put } from "../environment.js";
import {
  ROW_SPACE_ID_KEY,
  encodeKey,
  pointerKey,
  rowSpaceKindBounds,
  spaceGarbageKey,
  spaceStagingKey,
} from "../keys.js";
import { LmdbGroup } from "../group.js";
import { FORMAT_VERSION } from "../format.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { checkFolder } from "../maintenance/check.js";
import { restoreBackup } from "../maintenance/restore.js";
import { damageFolder, lastBitFlipped } from "../testing/damaged-folder.js";
import { IterationCounter, inputId, inputState } from "@bolthole/core/testing";
import { MANY_ROWS, importOver, replaceOrDelete, rowSet, rowSpaceValues } from "../testing/row-sets.js";
import { runScrub } from "../testing/scrub-run.js";

/** A runtime id whose keys contain only its hash. */
const LONG = "long ".repeat(300);

let site: string;
let folder: string;
let engine: LmdbEngine;
let store: EngineStore;

beforeEach(async () => {
  site = mkdtempSync(join(tmpdir(), "bolthole-row-spaces-"));
  folder = join(site, "data");
  mkdirSync(folder);
  await open();
});

afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(site, { recursive: true });
});

async function open(): Promise<void> {
  engine = await LmdbEngine.open(folder, { check: { level: "quick", maxBytes: Infinity } });
  store = createEngineStore(engine);
}

async function reopen(change?: (environment: Environment) => Put): Promise<void> {
  await engine.close();
  if (change) await damageFolder(folder, change);
  await open();
}

/** Closes the store without reclaiming, checks it, and opens it again. */
async function findings(): Promise<string[]> {
  await engine.close();
  const found: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  await open();
  return found.map(({ code, runtimeId, text }) => [code, runtimeId, text].filter(Boolean).join(" "));
}

/** Makes the writer refuse to delete rows, as on a disk that is full, until the returned function is called. */
function holdReclaiming(): () => void {
  const spy = jest.spyOn(LmdbGroup.prototype, "prepareRowTask").mockImplementation(() => {
    throw new Error("no rows are deleted now");
  });
  return () => {
    spy.mockRestore();
  };
}

/** Exports a runtime; an absent one has empty contents. */
async function exported(runtimeId: string, from: EngineStore = store): Promise<RuntimeContents> {
  const { session, lifecycle, ops, inputs, receipts } =
    (await exportContents(from, { runtimeId, salvage: false })) ?? emptyContents(runtimeId);
  return { runtimeId, session, lifecycle, ops, inputs, receipts };
}
const runtimes = async (): Promise<string[]> =>
  (await store.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map(({ runtimeId }) => runtimeId);

test("a view that was opened before an import and its reclaiming keeps its state", async () => {
  await importOver(store, rowSet("rt", MANY_ROWS, 1));
  for (const next of [rowSet("rt", MANY_ROWS, 2), rowSet("rt", 3, 3), undefined]) {
    const before = await exported("rt");
    await engine.view(async (view) => {
      const [first] = await view.scan({ table: "input", runtimeId: "rt" }, 1);
      await replaceOrDelete(store, "rt", next);
      await engine.reclaimed();
      let count = 0;
      for await (const page of pagesOf(view, { table: "input", runtimeId: "rt" })) {
        count += page.length;
        for (const { row } of page) expect(row.value.length).toBe(first?.row.value.length);
      }
      expect(count).toBe(before.inputs.length);
      expect(await view.get({ table: "input", runtimeId: "rt", inputId: inputId(0) })).toEqual(first?.row);
    });
    expect(await exported("rt")).toEqual(next ?? emptyContents("rt"));
  }
});

test.each(["rt", LONG])("replaced rows that are not deleted yet belong to no runtime (%#)", async (runtimeId) => {
  for (let serial = 0; serial < MANY_ROWS; serial += 1)
    await store.persistInputState({ runtimeId, state: inputState(serial) });
  const release = holdReclaiming();
  await importOver(store, rowSet(runtimeId, MANY_ROWS, 1));
  const unfinished = [
    `row-space-unfinished ${runtimeId} the replaced rows of the default row space are not deleted yet`,
  ];
  await engine.close();
  const found: Finding[] = [];
  const { counts } = await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  expect(found.map(({ code, runtimeId: id, text }) => `${code} ${String(id)} ${text}`)).toEqual(unfinished);
  expect(counts).toMatchObject({ runtimes: 1, rows: 2 * MANY_ROWS });
  await open();
  expect(await exported(runtimeId)).toEqual(rowSet(runtimeId, MANY_ROWS, 1));
  expect(await runScrub(engine)).toMatchObject({ found: [], faults: [] });
  release();
  await engine.reclaimed();
  expect(await findings()).toEqual([]);
});

test.each(["rt", LONG])(
  "a deleted runtime with rows that are not deleted yet is not listed (%#)",
  async (runtimeId) => {
    await store.persistInputState({ runtimeId: "a", state: inputState(1) });
    await store.persistInputState({ runtimeId: "z", state: inputState(1) });
    for (let serial = 0; serial < MANY_ROWS; serial += 1)
      await store.persistInputState({ runtimeId, state: inputState(serial) });
    const release = holdReclaiming();
    await store.deleteRuntime({ runtimeId });
    expect((await runtimes()).sort()).toEqual(["a", "z"]);
    expect(await runScrub(engine)).toMatchObject({ found: [], faults: [] });
    await reopen();
    expect((await runtimes()).sort()).toEqual(["a", "z"]);
    await store.persistInputState({ runtimeId, state: inputState(1) });
    expect(await exported(runtimeId)).toEqual({ ...emptyContents(runtimeId), inputs: [inputState(1)] });
    release();
    await engine.reclaimed();
    expect(await exported(runtimeId)).toEqual({ ...emptyContents(runtimeId), inputs: [inputState(1)] });
    expect(await findings()).toEqual([]);
  },
);

test("a runtime that is deleted again and again leaves nothing behind", async () => {
  for (let round = 0; round < 4; round += 1) {
    await importOver(store, rowSet("rt", MANY_ROWS, round));
    if (round % 2 === 0) await engine.reclaimed();
    await store.deleteRuntime({ runtimeId: "rt" });
  }
  await engine.reclaimed();
  await engine.close();
  expect(await rowSpaceValues(folder)).toEqual({});
  await open();
});

test("batches before and after a replacement in one group see the row set that is current, with a row that the replacement added", async () => {
  await importOver(store, rowSet("rt", MANY_ROWS, 1));
  const staged = await engine.stageRows("rt", slicesOf([[5, 6]]));
  const read = (
    serials: readonly number[],
    replaceRows?: StagedRows,
    value?: number,
  ): Promise<(number | undefined)[]> => {
    const reads = new ReadSet();
    const handles = serials.map((serial) => reads.add({ table: "input", runtimeId: "rt", inputId: inputId(serial) }));
    return engine.commit({
      reads,
      bytes: 0,
      decide: (rows, sequence) => ({
        writes:
          value === undefined
            ? []
            : handles.map((handle) => ({ handle, row: { sequence, checksum: 0, value: Buffer.of(value) } })),
        ...(replaceRows && { replaceRows: { runtimeId: "rt", rows: replaceRows } }),
        result: handles.map((handle) => rows.get(handle)?.value.length),
        freesSpace: false,
      }),
    });
  };
  const [length] = await read([1]);
  const results = await Promise.all([
    read([1, 5]),
    read([2], undefined, 9),
    read([2]),
    read([999], staged, 8),
    read([1, 2, 5, 6, 999]),
    read([1], undefined, 9),
    read([1, 2]),
  ]);
  expect(results).toEqual([
    [length, length],
    [length],
    [1],
    [undefined],
    [undefined, undefined, 1, 1, 1],
    [undefined],
    [1, undefined],
  ]);
  await engine.reclaimed();
  expect(await read([1, 2, 5, 6, 999])).toEqual([1, undefined, 1, 1, 1]);
});

/** Yields one slice for each list of serial numbers. */
// eslint-disable-next-line @typescript-eslint/require-await -- the port allows waiting for the slices
async function* slicesOf(lists: readonly (readonly number[])[]): AsyncGenerator<RowSlice, void> {
  for (const serials of lists) {
    yield (sequence) =>
      serials.map((serial) => ({
        key: { table: "input", runtimeId: "rt", inputId: inputId(serial) },
        row: { sequence, checksum: serial, value: Buffer.of(serial) },
      }));
  }
}

test("all slices have one sequence, and no commit has the same one", async () => {
  const sequences: number[] = [];
  const slices = async function* (): AsyncGenerator<RowSlice, void> {
    for await (const slice of slicesOf([[1], [2], [3]])) {
      yield (sequence) => {
        sequences.push(sequence);
        return slice(sequence);
      };
    }
  };
  const [staged] = await Promise.all([
    engine.stageRows("rt", slices()),
    store.persistInputState({ runtimeId: "other", state: inputState(1) }),
  ]);
  expect(new Set(sequences).size).toBe(1);
  expect(staged).toMatchObject({ input: { rows: 3, sum: 6 }, receipt: { rows: 0, sum: 0 } });
  expect((await engine.stats()).commitSequence).toBe(4);
  await engine.discardRows(staged);
  await engine.reclaimed();
  await reopen();
  expect((await engine.stats()).commitSequence).toBe(4);
  expect(await findings()).toEqual([]);
});

test("rows that are staged and never committed are invisible, and are deleted after the next start", async () => {
  await importOver(store, rowSet("rt", 3, 1));
  const staged = await engine.stageRows("rt", slicesOf([[7], [8]]));
  expect(await exported("rt")).toEqual(rowSet("rt", 3, 1));
  expect(staged.input.rows).toBe(2);
  await engine.close();
  expect(await rowSpaceValues(folder)).toEqual({ staging: 1, row: 2 });
  await open();
  await engine.reclaimed();
  await engine.close();
  expect(await rowSpaceValues(folder)).toEqual({});
  await open();
});

test("an error of a slice discards the staged rows", async () => {
  const slices = async function* (): AsyncGenerator<RowSlice, void> {
    yield* slicesOf([[1], [2]]);
    throw new Error("no more rows");
  };
  await expect(engine.stageRows("rt", slices())).rejects.toThrow("no more rows");
  await engine.reclaimed();
  await engine.close();
  expect(await rowSpaceValues(folder)).toEqual({});
  await open();
});

test("a row space id is never used twice, also after its rows are gone", async () => {
  for (let round = 0; round < 3; round += 1) {
    await importOver(store, rowSet("rt", MANY_ROWS, round));
    await engine.reclaimed();
    await engine.close();
    const environment = new Environment(folder);
    const { start, end } = rowSpaceKindBounds("row");
    expect(environment.firstKeys(start, end, 1)[0]?.readUIntBE(2, 6)).toBe(round + 1);
    expect(environment.get(ROW_SPACE_ID_KEY)).toEqual(encodeCounter(ROW_SPACE_ID_KEY, round + 2));
    await environment.close();
    await open();
  }
});

test("a backup with a replaced row set and garbage is restored, and the new store finishes the reclaiming", async () => {
  await importOver(store, rowSet("rt", MANY_ROWS, 1));
  await importOver(store, rowSet("gone", MANY_ROWS, 1));
  const release = holdReclaiming();
  await importOver(store, rowSet("rt", MANY_ROWS, 2));
  await store.deleteRuntime({ runtimeId: "gone" });
  const path = join(site, "backup");
  await writeFile(path, await engine.backUp());
  release();
  const restored = join(site, "restored");
  const { findings: damaged, manifest } = await restoreBackup(path, restored, { keepsOauth: false });
  expect(damaged).toEqual([]);
  expect(manifest).toMatchObject({
    formatVersion: FORMAT_VERSION,
    findings: 0,
    counts: { runtimes: 1, rows: 2 * MANY_ROWS },
  });
  const again = await LmdbEngine.open(restored);
  await again.reclaimed();
  expect(await exported("rt", createEngineStore(again))).toEqual(rowSet("rt", MANY_ROWS, 2));
  await again.close();
  expect(await rowSpaceValues(restored)).toEqual({ pointer: 1, row: 2 * MANY_ROWS });
});

test.each<[string, (environment: Environment) => Put, RegExp]>([
  ["a damaged pointer", lastBitFlipped(pointerKey("rt")), /^row-space-damaged the pointer/],
  [
    "a missing pointer",
    () => [pointerKey("rt"), undefined],
    /^row-space-orphan no runtime has the rows of row space 1$/,
  ],
  [
    "a staging record of a row space in use",
    (): Put => [spaceStagingKey(1), Buffer.from("no record")],
    /^row-space-damaged .*staging record of row space 1 is damaged/,
  ],
  [
    "a damaged garbage record",
    (): Put => [spaceGarbageKey("rt", 0), Buffer.from("no record")],
    /^row-space-damaged .*garbage record of the default row space is damaged/,
  ],
  [
    "rows in the default row space of a runtime with another one",
    (): Put => [encodeKey({ table: "input", runtimeId: "rt", inputId: inputId(1) }), Buffer.from("row")],
    /^row-space-orphan rt 1 rows are in the default row space/,
  ],
  ["a value under an unknown key", (): Put => [Buffer.of(5, 9), Buffer.from("value")], /^row-strange /],
  [
    "a row of a row space under an unknown key",
    (): Put => [Buffer.of(5, 4, 0, 0, 0, 0, 0, 1, 9), Buffer.from("value")],
    /^row-strange /,
  ],
  ["a staging record without an id", (): Put => [Buffer.of(5, 2, 1), Buffer.from("value")], /^row-strange .* 050201,/],
  ["a garbage record without an id", (): Put => [Buffer.of(5, 3), Buffer.from("value")], /^row-strange .* 0503,/],
  ["a row without a row space id", (): Put => [Buffer.of(5, 4, 1), Buffer.from("value")], /^row-strange .* 050401,/],
  [
    "a row of the last row space",
    (): Put => [Buffer.of(5, 4, 255, 255, 255, 255, 255, 255, 4), Buffer.from("value")],
    /^row-space-orphan no runtime has the rows of row space 281474976710655$/,
  ],
  ["a counter that is too small", (): Put => [ROW_SPACE_ID_KEY, Buffer.alloc(8)], /^store-differs .*next row space/],
])("%s is found", async (_what, change, expected) => {
  await importOver(store, rowSet("rt", MANY_ROWS, 1));
  await engine.reclaimed();
  await engine.close();
  await damageFolder(folder, change);
  const found: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  // Above every row space id, so that the store can be opened.
  await damageFolder(folder, () => [ROW_SPACE_ID_KEY, encodeCounter(ROW_SPACE_ID_KEY, 2 ** 48)]);
  await open();
  const texts = found.map(({ code, runtimeId, text }) => [code, runtimeId, text].filter(Boolean).join(" "));
  expect(texts).toContainEqual(expect.stringMatching(expected));
});

test.each(["rt", LONG])(
  "rows in the default row space beside another one do not come back when their runtime is deleted (%#)",
  async (runtimeId) => {
    await importOver(store, rowSet(runtimeId, MANY_ROWS, 1));
    await store.persistInputState({ runtimeId: "other", state: inputState(1) });
    await engine.reclaimed();
    await reopen(() => [encodeKey({ table: "input", runtimeId, inputId: inputId(1) }), Buffer.from("row")]);
    await store.deleteRuntime({ runtimeId });
    await engine.reclaimed();
    expect(await runtimes()).toEqual(["other"]);
    expect(await findings()).toEqual([
      `row-space-orphan ${runtimeId} 1 rows are in the default row space of a runtime that has another one`,
    ]);
  },
);

test.each(["deleted", "replaced"])(
  "a runtime whose pointer is damaged refuses its rows, and can be %s",
  async (how) => {
    await importOver(store, rowSet("rt", MANY_ROWS, 1));
    await importOver(store, rowSet("other", MANY_ROWS, 1));
    await engine.reclaimed();
    await reopen(lastBitFlipped(pointerKey("rt")));
    const damaged = { reason: "DAMAGED_RECORD", subject: { runtimeId: "rt", record: "row space" } };
    await expect(store.loadInputState({ runtimeId: "rt", inputId: inputId(1) })).rejects.toMatchObject(damaged);
    await expect(store.persistInputState({ runtimeId: "rt", state: inputState(1) })).rejects.toMatchObject(damaged);
    expect(await exported("other")).toEqual(rowSet("other", MANY_ROWS, 1));
    if (how === "deleted") await store.deleteRuntime({ runtimeId: "rt" });
    else await importOver(store, rowSet("rt", MANY_ROWS, 2));
    expect(await exported("rt")).toEqual(how === "deleted" ? emptyContents("rt") : rowSet("rt", MANY_ROWS, 2));
    await engine.reclaimed();
    const found = await findings();
    // Only the space of the old rows is lost.
    expect(found).toEqual(["row-space-orphan no runtime has the rows of row space 1"]);
    expect(found.filter((code) => isDamageFinding({ code: code.split(" ")[0] as Finding["code"] }))).toEqual([]);
  },
);

test("an import beyond the quota is refused and leaves nothing behind, and deletions still work", async () => {
  await engine.close();
  engine = await LmdbEngine.open(folder, { quotaBytes: 1 << 20 });
  store = createEngineStore(engine);
  await importOver(store, rowSet("rt", MANY_ROWS, 1));
  const more = rowSet("more", 8 * MANY_ROWS, 1);
  await expect(importOver(store, more)).rejects.toMatchObject({ reason: "QUOTA", applied: "no" });
  await engine.reclaimed();
  expect(await exported("more")).toEqual(emptyContents("more"));
  await store.deleteRuntime({ runtimeId: "rt" });
  await engine.reclaimed();
  await engine.close();
  expect(await rowSpaceValues(folder)).toEqual({});
  await open();
});

test("an import of many rows lets the event loop run", async () => {
  const iterations = new IterationCounter();
  const before = process.cpuUsage();
  await importOver(store, rowSet("rt", 10_000, 1));
  await importOver(store, rowSet("rt", 10_000, 2));
  await store.deleteRuntime({ runtimeId: "rt" });
  await engine.reclaimed();
  const count = iterations.end();
  const { user, system } = process.cpuUsage(before);
  // Each slice is at most a few milliseconds of work.
  expect(count).toBeGreaterThan((user + system) / 1000 / 25);
});
