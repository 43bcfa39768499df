import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RuntimeContents, emptyContents, exportContents, importContents } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { inputId, inputState } from "@bolthole/core/testing";
import { Statement } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";

const RT = "rt";
const ROWS = 40;

/** A runtime whose rows have 300 kB each. */
const CONTENTS: RuntimeContents = {
  ...emptyContents(RT),
  inputs: Array.from({ length: ROWS }, (_, n) => ({ ...inputState(n), idempotencyKey: "x".repeat(300_000) })),
  receipts: Array.from({ length: ROWS }, (_, n) => ({
    runId: inputId(1),
    boundary: "run_start",
    contributingInputIds: Array.from({ length: 7500 }, () => inputId(2)),
    messageCount: 0n,
    sequence: BigInt(n),
  })),
};

let folder: string;
let engine: SqliteEngine;
let store: EngineStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-long-rows-"));
  engine = await SqliteEngine.open(join(folder, "db.sqlite3"));
  store = createEngineStore(engine);
  await importContents(store, { contents: CONTENTS, overwrite: false, dryRun: false });
});
afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

test("pages of input rows and of receipts end by their bytes", async () => {
  const pages: number[] = [];
  const all = jest.spyOn(Statement.prototype, "all");
  expect(await exportContents(store, { runtimeId: RT })).toEqual({ ...CONTENTS, findings: [] });
  for (const { value } of all.mock.results) {
    const rows = (await (value as ReturnType<Statement["all"]>)).flat();
    pages.push(rows.reduce<number>((total, one) => total + (Buffer.isBuffer(one) ? one.length : 0), 0));
  }
  expect(pages.filter((bytes) => bytes > 300_000).length).toBeGreaterThan((2 * ROWS) / 5);
  expect(Math.max(...pages)).toBeLessThan(2 << 20);
});

test("a deletion of long rows deletes a few in each statement, so that the event loop runs between them", async () => {
  const run = jest.spyOn(Statement.prototype, "run");
  expect(await store.deleteRuntime({ runtimeId: RT })).toMatchObject({ inputStates: ROWS, receipts: ROWS });
  const changes = await Promise.all(run.mock.results.map(({ value }) => value as Promise<number>));
  const ofRows = changes.filter((_, index) => run.mock.calls[index]?.[1] !== 256);
  expect(ofRows.reduce((total, count) => total + count, 0)).toBeGreaterThanOrEqual(2 * ROWS);
  expect(Math.max(...ofRows)).toBeLessThan(10);
  expect(await store.exportRuntime({ runtimeId: RT })).toBeUndefined();
});
