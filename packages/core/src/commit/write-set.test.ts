import type { RowKey } from "../engine.js";
import { ReadRows, ReadSet } from "./row.js";

const input = (serial: number): RowKey => ({
  table: "input",
  runtimeId: "a runtime",
  inputId: `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`,
});

test.each([3, 200])("a row that is added again keeps its handle, in a set of %d rows", (count) => {
  const reads = new ReadSet();
  const handles = Array.from({ length: count }, (_, serial) => reads.add(input(serial)));
  const lifecycle = reads.add({ table: "lifecycle", runtimeId: "a runtime" });
  handles.forEach((handle, serial) => {
    expect(reads.add(input(serial))).toBe(handle);
  });
  expect(reads.add({ table: "lifecycle", runtimeId: "a runtime" })).toBe(lifecycle);
  expect(reads.add({ table: "lifecycle", runtimeId: "another" })).not.toBe(lifecycle);
  expect(reads.handles).toHaveLength(count + 2);
  expect(reads.handles.map(({ index }) => index)).toEqual(reads.handles.map((_, index) => index));
});

test("a row is found by its handle, and a row that was not read throws", () => {
  const reads = new ReadSet();
  const [first, second] = [reads.add(input(1)), reads.add(input(2))];
  const row = { sequence: 1, checksum: 2, value: Buffer.of() };
  const rows = new ReadRows([{ row: undefined }, { row }]);
  expect([rows.get(first), rows.get(second)]).toEqual([undefined, row]);
  expect(() => rows.get(reads.add(input(3)))).toThrow(RangeError);
});
