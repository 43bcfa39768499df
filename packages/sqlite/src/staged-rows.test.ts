import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RowEntry, type RowSetKey, externalRow } from "@bolthole/core";
import { inputId } from "@bolthole/core/testing";
import { SqliteConnection } from "./connection.js";
import { StagedSets } from "./staged-rows.js";
import { Transactions } from "./transactions.js";

const RUNTIME = "a\0b";

/** Returns slices of input rows and receipts. Some sequences are above the largest integer of SQLite. */
const SLICES = [1, 2, 3].map((slice) =>
  Array.from({ length: 50 }, (_, n): RowEntry<RowSetKey> => {
    const serial = slice * 100 + n;
    const key: RowSetKey =
      slice < 3
        ? { table: "input", runtimeId: RUNTIME, inputId: inputId(serial) }
        : { table: "receipt", runtimeId: RUNTIME, runId: inputId(1), sequence: 2n ** 64n - BigInt(50 - n) };
    return { key, row: externalRow(key, Buffer.alloc(1_000, serial)) };
  }),
);

async function* slicesOf(
  slices: readonly (readonly RowEntry<RowSetKey>[])[],
  error?: Error,
): AsyncGenerator<readonly RowEntry<RowSetKey>[], void> {
  for (const slice of slices) yield await Promise.resolve(slice);
  if (error) throw error;
}

let folder: string;
let connection: SqliteConnection;
let sets: StagedSets;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-staged-"));
  connection = await SqliteConnection.open(join(folder, "db.sqlite3"));
  sets = await StagedSets.prepare(connection, new Transactions(connection, 1000));
});
afterEach(async () => {
  await connection.close();
  rmSync(folder, { recursive: true, force: true });
});

const single = async (sql: string): Promise<unknown> => (await (await connection.prepare(sql)).get())?.[0];
const stagedCount = (): Promise<unknown> => single("SELECT count(*) FROM temp.bolthole_staged");

async function taken(set: Awaited<ReturnType<StagedSets["add"]>>): Promise<RowEntry<RowSetKey>[]> {
  const rows: RowEntry<RowSetKey>[] = [];
  for await (const entries of sets.taken(set)) rows.push(...entries);
  return rows;
}

test("staged rows are in a temporary file, and are taken in their order exactly as they were", async () => {
  const [first, second] = [await sets.add(7, slicesOf(SLICES)), await sets.add(8, slicesOf(SLICES.slice(1)))];
  expect(await single("PRAGMA temp_store")).toBe(1);
  expect(await single("SELECT count(*) FROM main.sqlite_master")).toBe(0);
  expect(await stagedCount()).toBe(250);
  expect(first).toMatchObject({ sequence: 7, input: { rows: 100 }, receipt: { rows: 50 } });
  expect(await taken(second)).toEqual(SLICES.slice(1).flat());
  expect(await taken(first)).toEqual(SLICES.flat());
  expect(await stagedCount()).toBe(0);
});

test("rows that were taken in a transaction that is rolled back are staged again", async () => {
  const set = await sets.add(7, slicesOf(SLICES));
  await connection.exec("BEGIN IMMEDIATE");
  await taken(set);
  await connection.exec("ROLLBACK");
  expect(await taken(set)).toEqual(SLICES.flat());
});

test("nothing of a row set remains that is removed, or whose slices end with an error", async () => {
  await expect(sets.add(7, slicesOf(SLICES, new Error("the source")))).rejects.toThrow("the source");
  expect(await stagedCount()).toBe(0);
  await sets.remove(await sets.add(7, slicesOf(SLICES)));
  expect(await stagedCount()).toBe(0);
});

test("a full disk refuses a row set as DISK_FULL, with what to do", async () => {
  await connection.exec("PRAGMA temp.max_page_count=20");
  await expect(sets.add(7, slicesOf(SLICES))).rejects.toMatchObject({
    reason: "DISK_FULL",
    text: expect.stringContaining("SQLITE_TMPDIR") as string,
  });
  await connection.exec("PRAGMA temp.max_page_count=1000000");
  expect(await taken(await sets.add(7, slicesOf(SLICES)))).toHaveLength(150);
});
