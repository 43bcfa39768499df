import fc from "fast-check";
import type { RowEntry, RowKey, RowSetKey } from "../engine.js";
import { RowSetDigest, orderRows, rowSlices } from "./row-set.js";
import { compareKeys, keyText } from "./row.js";

const idOf = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;
const inputKey = (serial: number): RowSetKey => ({ table: "input", runtimeId: "rt", inputId: idOf(serial) });
const keyOf = (serial: number): RowKey =>
  serial % 3 === 0
    ? { table: "receipt", runtimeId: "rt", runId: idOf(serial % 7), sequence: BigInt(serial) }
    : serial % 50 === 1
      ? { table: "lifecycle", runtimeId: "rt" }
      : inputKey(serial);

test("rows are ordered by their keys, and of rows with one key the last one wins", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(5000), { maxLength: 9000 }), async (serials) => {
      const rows = serials.map((serial, index) => ({ key: keyOf(serial), value: Buffer.from(String(index)) }));
      const last = new Map(rows.map((row) => [keyText(row.key), row]));
      const expected = [...last.values()].sort((a, b) => compareKeys(a.key, b.key));
      expect(await orderRows(rows)).toEqual(expected);
    }),
    { numRuns: 15 },
  );
});

test("slices have few rows and few bytes, and contain every row once with the sequence of its slice", async () => {
  const sizes = [...Array.from({ length: 1000 }, () => 10), 600_000, 10, 300_000, 300_000];
  const rows = sizes.map((bytes, serial) => ({ key: inputKey(serial), value: Buffer.alloc(bytes, serial) }));
  const made: RowEntry<RowSetKey>[][] = [];
  const digest = new RowSetDigest();
  for await (const slice of rowSlices(rows)) {
    slice(999);
    const entries = [...slice(made.length + 1)];
    digest.add(entries);
    made.push(entries);
  }
  expect(made.flat().map(({ key }) => key)).toEqual(rows.map(({ key }) => key));
  for (const [index, entries] of made.entries()) {
    const bytes = entries.reduce((total, { row }) => total + row.value.length, 0);
    expect(entries.length).toBeLessThanOrEqual(256);
    expect(entries.length === 1 || bytes <= 512 * 1024).toBe(true);
    expect(entries.every(({ row }) => row.sequence === index + 1)).toBe(true);
  }
  const sum = made.flat().reduce((total, { row }) => (total + row.checksum) >>> 0, 0);
  expect(digest).toMatchObject({ input: { rows: rows.length, sum }, receipt: { rows: 0, sum: 0 } });
});
