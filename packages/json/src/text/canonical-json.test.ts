import fc from "fast-check";

import { canonicalRawJson, skipCanonicalRawJson } from "./canonical-json.js";
import { JsonError } from "./json-error.js";
import { JsonReader } from "./reader.js";

test.each([
  ["1E2", "100.0"],
  ["-0", "-0.0"],
  ["1e16", "1e+16"],
  ["0.00001", "0.00001"],
  ["1e-6", "1e-6"],
  ["18446744073709551615", "18446744073709551615"],
  ["18446744073709551616", "1.8446744073709552e+19"],
])("the canonical form of the number %s is %s", (text, canonical) => {
  expect(canonicalRawJson(text)).toBe(canonical);
});

test.each(["1e400", "01", "1.", "+1", "", "1 2"])("%j is rejected as a number", (text) => {
  expect(() => canonicalRawJson(text)).toThrow(JsonError);
});

// Numbers of few digits: the reference's reader changes others in the last digit on every pass (contract 9.6).
const anyJson = fc
  .jsonValue({ stringUnit: "binary" })
  .map((value) =>
    JSON.stringify(value, (_, item: unknown) => (typeof item === "number" ? Math.round(item % 1e6) / 4 : item)),
  );

test("a second pass does not change canonical JSON, and the value stays the same", () => {
  fc.assert(
    fc.property(anyJson, (text) => {
      const once = canonicalRawJson(text);
      expect(canonicalRawJson(once)).toBe(once);
      expect(JSON.parse(once)).toEqual(JSON.parse(text));
    }),
  );
});

test("JSON is recognised as canonical exactly when a pass does not change it", () => {
  fc.assert(
    fc.property(anyJson, fc.boolean(), (text, isSpaced) => {
      const source = isSpaced ? JSON.stringify(JSON.parse(text), undefined, 1) : text;
      const reader = new JsonReader(source);
      const isCanonical = skipCanonicalRawJson(reader) && reader.position === reader.bytes.length;
      const hasEscapedName = /\\[^"]*":|\\"[^"]*":/.test(source);
      if (!hasEscapedName) expect(isCanonical).toBe(canonicalRawJson(source) === source);
      else if (isCanonical) expect(canonicalRawJson(source)).toBe(source);
    }),
  );
});
