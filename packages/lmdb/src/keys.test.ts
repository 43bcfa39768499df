import fc from "fast-check";
import type { RowKey } from "@bolthole/core";
import {
  DOCUMENT_KEYS,
  type DocumentKey,
  documentBounds,
  documentKey,
  encodeKey,
  garbageKey,
  isHashedId,
  numberOf,
  parseKey,
  parseRowSpaceKey,
  parseRuntimeKey,
  rowSpaceBounds,
  documentRowBeside,
} from "./keys.js";

/** Ids that could be mistaken for others: with zero bytes, with the bytes of marks, and with lengths around the limit. */
const runtimeId = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: fc.constantFrom("\0", "\u0001", "\u00ff", "a", "|", "\uffff", "😀"), maxLength: 12 }),
  fc.string({ unit: fc.constantFrom("\0", "é", "x"), minLength: 500, maxLength: 1100 }),
);
const uuid = fc.uuid().map((text) => text.toLowerCase());
const key: fc.Arbitrary<RowKey> = fc.oneof(
  fc.record({
    table: fc.constantFrom("runtimeManifest" as const, "snapshot" as const, "lifecycle" as const, "ops" as const),
    runtimeId,
  }),
  fc.record({ table: fc.constant("input" as const), runtimeId, inputId: uuid }),
  fc.record({
    table: fc.constant("receipt" as const),
    runtimeId,
    runId: uuid,
    sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  }),
  fc.record({ table: fc.constant("outcome" as const), requestId: uuid }),
  fc.record({ table: fc.constantFrom("oauth" as const, "storeManifest" as const) }),
);

const text = (one: RowKey): string =>
  JSON.stringify(one, (_name, value: unknown) => (typeof value === "bigint" ? value.toString() : value));

test("different rows have different keys, and no key is a prefix of another", () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      const [x, y] = [encodeKey(a), encodeKey(b)];
      if (text(a) === text(b)) return x.equals(y);
      return !x.subarray(0, y.length).equals(y) || (a.table === "storeManifest" && b.table === "storeManifest");
    }),
    { numRuns: 3000 },
  );
});

test("the rows of a row space are in its range, and in no other one's", () => {
  const space = fc.nat({ max: 2 ** 48 - 2 });
  const rowKey = key.filter((one) => one.table === "input" || one.table === "receipt");
  fc.assert(
    fc.property(rowKey, runtimeId, space, space, (one, otherId, own, other) => {
      if (!("runtimeId" in one)) return false;
      const stored = encodeKey(one, own);
      const isIn = (id: string, number: number): boolean => {
        const { start, end } = rowSpaceBounds(id, number);
        return Buffer.compare(stored, start) >= 0 && Buffer.compare(stored, end) < 0;
      };
      const parsed = own === 0 ? parseKey(stored, one.runtimeId) : parseRowSpaceKey(stored, one.runtimeId);
      expect(parsed && text(parsed)).toBe(text(one));
      const isSame = own === other && (own > 0 || otherId === one.runtimeId);
      return isIn(one.runtimeId, own) && isIn(otherId, other) === isSame;
    }),
    { numRuns: 2000 },
  );
});

test("every key is shorter than LMDB's limit", () => {
  fc.assert(fc.property(key, (one) => encodeKey(one).length <= 1100));
  expect(encodeKey({ table: "runtimeManifest", runtimeId: "x".repeat(8192) })).toHaveLength(35);
});

test("plain ids are read back from their keys, and hashed ids are absent", () => {
  fc.assert(
    fc.property(runtimeId, uuid, (id, inputId) => {
      const parsed = parseRuntimeKey(encodeKey({ table: "input", runtimeId: id, inputId }));
      return parsed.runtimeId === (isHashedId(id) ? undefined : id) && parsed.table === 4;
    }),
    { numRuns: 2000 },
  );
});

test("plain ids sort by their bytes, and hashed ids sort last", () => {
  fc.assert(
    fc.property(runtimeId, runtimeId, (a, b) => {
      if (isHashedId(a) || isHashedId(b)) {
        return isHashedId(a) === isHashedId(b) || compare(a, b) < 0 === isHashedId(b);
      }
      return Math.sign(compare(a, b)) === Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns: 2000 },
  );
});

test("the snapshot key of a runtime follows from every key of its rows", () => {
  fc.assert(
    fc.property(runtimeId, uuid, (id, inputId) => {
      const snapshot = encodeKey({ table: "snapshot", runtimeId: id });
      return (
        documentRowBeside(encodeKey({ table: "input", runtimeId: id, inputId }), "snapshot").equals(snapshot) &&
        documentRowBeside(encodeKey({ table: "runtimeManifest", runtimeId: id }), "snapshot").equals(snapshot)
      );
    }),
  );
});

test("keys of the documents' space sort by their numbers, each kind in its own range", () => {
  const kind = fc.constantFrom(...(Object.keys(DOCUMENT_KEYS) as DocumentKey[]));
  const number = fc.nat({ max: 2 ** 48 - 1 });
  const isInside = (one: Buffer, of: DocumentKey): boolean => {
    const { start, end } = documentBounds(of);
    return Buffer.compare(one, start) >= 0 && Buffer.compare(one, end) < 0;
  };
  fc.assert(
    fc.property(kind, kind, number, number, fc.nat(0xffffffff), (a, b, x, y, index) => {
      expect(Math.sign(Buffer.compare(documentKey(a, x), documentKey(a, y)))).toBe(Math.sign(x - y));
      expect(isInside(documentKey(a, x), b)).toBe(a === b);
      expect(isInside(garbageKey(x, index), b)).toBe(b === "garbage");
      expect([numberOf(documentKey(a, x)), numberOf(garbageKey(y, index))]).toEqual([x, y]);
    }),
  );
});

test("a key without a complete runtime id, or of another space, is refused with the bytes that were found", () => {
  expect(() => parseRuntimeKey(Buffer.from("026162", "hex"))).toThrow(/expected the end mark 00 01 .* found .*026162/);
  expect(() => numberOf(Buffer.from("0401", "hex"))).toThrow(/expected a key of the documents' space .* found 0401/);
  expect(() => numberOf(Buffer.from("0101000000000001", "hex"))).toThrow(RangeError);
});

const compare = (a: string, b: string): number =>
  Buffer.compare(
    encodeKey({ table: "runtimeManifest", runtimeId: a }),
    encodeKey({ table: "runtimeManifest", runtimeId: b }),
  );
