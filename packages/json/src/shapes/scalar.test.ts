import fc from "fast-check";

import { type VectorCase, bytesOf, mismatch, testVectors } from "../testing/vectors.js";
import { canonicalRawJson } from "../text/canonical-json.js";
import { JsonError } from "../text/json-error.js";
import { readFloat64 } from "../text/numbers.js";
import { FLOAT32, STRING, U64 } from "./scalar.js";
import { type Shape, readDocument, writeDocument } from "./shape.js";
import { SYSTEM_TIME, TIMESTAMP, canonicalTimestamp } from "./time.js";

const through =
  <T>(shape: Shape<T>) =>
  (vector: VectorCase) =>
    writeDocument(shape, readDocument(shape, bytesOf(vector))).toString();

const READERS: Readonly<Record<string, (vector: VectorCase) => string>> = {
  number: (vector) => canonicalRawJson(bytesOf(vector)),
  float32: through(FLOAT32),
  datetime: (vector) => timestamp(String(vector.input)),
  datetime_json: through(TIMESTAMP),
  string: through(STRING),
  system_time: through(SYSTEM_TIME),
};

function timestamp(text: string): string {
  const canonical = canonicalTimestamp(text);
  if (canonical === undefined) throw JsonError.at("expected a timestamp");
  return canonical;
}

testVectors("scalars.jsonl", "scalars are read and written as in the reference", (vector) => {
  const reader = READERS[vector.kind ?? ""];
  if (reader === undefined) return `a case of the unknown kind ${vector.kind}`;
  return mismatch(vector, "text", () => reader(vector)) ?? bitsMismatch(vector) ?? secondPassMismatch(vector);
});

function bitsMismatch(vector: VectorCase): string | undefined {
  if (vector.kind !== "number" || vector.bits === undefined) return undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(readFloat64(String(vector.input)) ?? NaN);
  const bits = bytes.toString("hex");
  return bits === vector.bits.replace(/^0x/, "") ? undefined : `expected the bits ${vector.bits}, found ${bits}`;
}

function secondPassMismatch(vector: VectorCase): string | undefined {
  const { ok } = vector.expect;
  if (vector.kind !== "number" || ok?.["text"] === undefined) return undefined;
  const again = canonicalRawJson(ok["text"]);
  const expected = ok["again"] ?? ok["text"];
  return again === expected ? undefined : `expected ${expected} from a second pass, found ${again}`;
}

test("an unsigned integer outside its range is not written", () => {
  expect(() => writeDocument(U64, -1n)).toThrow(JsonError);
  expect(() => writeDocument(U64, 2n ** 64n)).toThrow(JsonError);
  expect(writeDocument(U64, 2n ** 64n - 1n).toString()).toBe("18446744073709551615");
});

test("strings are written as JSON.stringify writes them, and read unchanged", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      const written = writeDocument(STRING, text).toString();
      expect(written).toBe(JSON.stringify(text));
      expect(readDocument(STRING, Buffer.from(written))).toBe(text);
    }),
  );
});
