import fc from "fast-check";
import type { NodeEntry } from "./document-tree/node.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";

const root: fc.Arbitrary<NodeEntry> = fc.record({
  level: fc.nat(12),
  id: fc.nat({ max: 2 ** 48 - 1 }),
  offset: fc.nat(32_751),
  length: fc.nat({ max: 2 ** 48 - 1 }),
  crc32: fc.nat(0xffffffff),
});
const row: fc.Arbitrary<StoredRow> = fc.record({
  sequence: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  checksum: fc.nat(0xffffffff),
  value: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  root: fc.option(root, { nil: undefined }),
  runtimeId: fc.option(fc.string({ minLength: 1, maxLength: 300 }), { nil: undefined }),
});

test("a row is read back as it was written", () => {
  fc.assert(
    fc.property(row, (one) => {
      expect(decodeRecord(encodeRecord(one))).toEqual(one);
    }),
  );
});

test("a changed root is not returned", () => {
  fc.assert(
    fc.property(row, root, fc.nat(17), fc.integer({ min: 1, max: 255 }), (one, its, at, change) => {
      const record = encodeRecord({ ...one, root: its });
      record[20 + at] = (record[20 + at] ?? 0) ^ change;
      expect(decodeRecord(record)).toEqual({ ...one, root: undefined });
    }),
  );
});
