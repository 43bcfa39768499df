import type { RowEntry, RowSetKey } from "../engine.js";
import { RowSetDigest, rowSlices } from "./row-set.js";

const idOf = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;
const inputKey = (serial: number): RowSetKey => ({ table: "input", runtimeId: "rt", inputId: idOf(serial) });
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
