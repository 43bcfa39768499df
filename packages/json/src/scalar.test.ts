import { canonicalTimestamp } from "./datetime.js";
import { readDocument, writeDocument } from "./document.js";
import { canonicalRawJson } from "./free-json.js";
import { JsonError } from "./json-error.js";
import { readFloat64 } from "./number.js";
import { FLOAT32, STRING, TIMESTAMP, U64 } from "./scalar.js";
import type { Shape } from "./shape.js";
import { SYSTEM_TIME } from "./system-time.js";
import { type VectorCase, bytesOf, testVectors, verdict } from "./vectors.test.helper.js";

const through =
  <T>(shape: Shape<T>) =>
  (source: Uint8Array) =>
    writeDocument(shape, readDocument(shape, source)).toString();

const READERS: Readonly<Record<string, (vector: VectorCase) => string>> = {
  number: (vector) => canonicalRawJson(bytesOf(vector)),
  float32: (vector) => through(FLOAT32)(bytesOf(vector)),
  datetime: (vector) => timestamp(String(vector.input)),
  datetime_json: (vector) => through(TIMESTAMP)(bytesOf(vector)),
  string: (vector) => through(STRING)(bytesOf(vector)),
  system_time: (vector) => through(SYSTEM_TIME)(bytesOf(vector)),
};

function timestamp(text: string): string {
  const canonical = canonicalTimestamp(text);
  if (canonical === undefined) throw JsonError.at("expected a timestamp");
  return canonical;
}

function problemOf(vector: VectorCase): string | undefined {
  const reader = READERS[vector.kind ?? ""];
  if (reader === undefined) return `a case of the unknown kind ${vector.kind}`;
  return verdict(vector, "text", () => reader(vector)) ?? bitsProblem(vector) ?? againProblem(vector);
}

function bitsProblem(vector: VectorCase): string | undefined {
  if (vector.kind !== "number" || vector.bits === undefined) return undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(readFloat64(String(vector.input)) ?? NaN);
  const bits = bytes.toString("hex");
  return bits === vector.bits.replace(/^0x/, "") ? undefined : `has the bits ${bits} instead of ${vector.bits}`;
}

function againProblem(vector: VectorCase): string | undefined {
  const { ok } = vector.expect;
  if (vector.kind !== "number" || ok?.["text"] === undefined) return undefined;
  const again = canonicalRawJson(ok["text"]);
  return again === (ok["again"] ?? ok["text"]) ? undefined : `becomes ${again} in a second pass`;
}

testVectors("scalars.jsonl", "scalars are read and written as the reference does", problemOf);

describe("scalars", () => {
  test.each([
    ["1E2", "100.0"],
    ["-0", "-0.0"],
    ["1e16", "1e+16"],
    ["0.00001", "0.00001"],
    ["1e-6", "1e-6"],
    ["18446744073709551615", "18446744073709551615"],
    ["18446744073709551616", "1.8446744073709552e+19"],
  ])("the free number %s is written %s", (read, written) => {
    expect(canonicalRawJson(read)).toBe(written);
  });

  test.each(["1e400", "01", "1.", "+1", "", "1 2"])("the free number %j is refused", (text) => {
    expect(() => canonicalRawJson(text)).toThrow(JsonError);
  });

  test.each([
    ["2026-05-28T17:31:27.5+02:00", "2026-05-28T15:31:27.500Z"],
    ["26-5-8 1:2:3UTC", "0026-05-08T01:02:03Z"],
    ["9999-12-31T23:59:59-00:01", "+10000-01-01T00:00:59Z"],
    ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"],
    ["2026-05-28T15:31:27.000Z", "2026-05-28T15:31:27Z"],
  ])("the timestamp %s is written %s", (read, written) => {
    expect(canonicalTimestamp(read)).toBe(written);
  });

  test.each(["2026-05-28T24:00:00Z", "2026-02-29T00:00:00Z", "2026-05-28T15:31:27,5Z", "2026-05-28T15:31:27+24:00"])(
    "%s is no timestamp",
    (text) => {
      expect(canonicalTimestamp(text)).toBeUndefined();
    },
  );

  test("an unsigned integer outside its range is not written", () => {
    expect(() => writeDocument(U64, -1n)).toThrow(JsonError);
    expect(() => writeDocument(U64, 2n ** 64n)).toThrow(JsonError);
    expect(writeDocument(U64, 2n ** 64n - 1n).toString()).toBe("18446744073709551615");
  });
});
