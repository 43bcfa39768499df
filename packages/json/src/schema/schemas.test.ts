import { Buffer, isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";

import type { JsonObject, JsonValue, ValueForm } from "../shapes/form.js";
import { checkDocument } from "../shapes/shape.js";
import { TIMESTAMP, canonicalTimestamp } from "../shapes/time.js";
import { changed, changesOf, placesIn } from "../testing/changed-documents.js";
import { documentsOf } from "../testing/random-documents.js";
import { bytesOf, testVectors } from "../testing/vectors.js";
import { JsonError } from "../text/json-error.js";
import { DOCUMENTS, type SchemaDocument } from "./documents.js";
import { documentSchema, examplesOf } from "./files.js";
import { jsonText } from "./json-text.js";
import { smallest } from "./smallest.js";

const PAGE = join(__dirname, "..", "..", "..", "..", "docs", "documents.md");

const ajv = new Ajv2020({ strict: true, allErrors: false });
const compiled = (schema: JsonObject): ValidateFunction => ajv.compile(JSON.parse(jsonText(schema)) as object);

interface Rules {
  readonly document: SchemaDocument;
  /** The schema without the rules that only a store checks. */
  readonly validate: ValidateFunction;
  /** The published schema. */
  readonly validateAll: ValidateFunction;
}

const RULES = new Map<string, Rules>(
  DOCUMENTS.map(({ rules, ...document }) => [
    document.name,
    {
      document,
      validate: compiled(documentSchema(document)),
      validateAll: compiled(documentSchema(rules === undefined ? document : { ...document, rules })),
    },
  ]),
);

function rulesOf(name: string): Rules {
  const rules = RULES.get(name);
  if (rules === undefined) throw new Error(`no document is called ${name}`);
  return rules;
}

/** Returns the error of the reader; undefined when it accepts the document. */
function refusal({ shape }: SchemaDocument, source: Uint8Array): JsonError | undefined {
  try {
    checkDocument(shape, source);
    return undefined;
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
}

/** A refusal that JSON Schema cannot express. */
interface Beyond {
  isReason(error: JsonError, source: Uint8Array, document: SchemaDocument): boolean;
  /** A refused text that the schema of a document accepts. */
  readonly example: readonly [document: string, text: string];
}

const RECEIPT = jsonText(smallest(rulesOf("receipt").document.shape.form()));
const withSequence = (integer: string): string => RECEIPT.replace('"sequence":0', `"sequence":${integer}`);
const EVENT = jsonText(smallest(rulesOf("input-payload").document.shape.form(), "external_event"));
const withPayload = (payload: string): string => EVENT.replace('"payload":{}', `"payload":${payload}`);
const ROW = jsonText(smallest(rulesOf("input-row").document.shape.form()));
const SESSION = jsonText(smallest(rulesOf("session").document.shape.form()));

/** The kinds of these refusals. docs/documents.md describes each. */
const BEYOND_SCHEMA: Readonly<Record<string, Beyond>> = {
  "a repeated member, or an integer written as 1.0, 1e2 or -0": {
    isReason: ({ reason }, source, document) =>
      /is repeated$|^expected an integer from|untagged enum StringOrBlocks;/.test(reason) &&
      refusal(document, Buffer.from(JSON.stringify(parsed(source)))) === undefined,
    example: ["receipt", withSequence("1.0")],
  },
  "an integer above 2^64-1, which JavaScript rounds": {
    isReason: ({ reason, offset }, source) =>
      reason === "expected an integer from 0 to 2^64-1" &&
      BigInt(/^[0-9]+(?![0-9.eE])/.exec(textAt(source, offset))?.[0] ?? 0) > 2n ** 64n - 1n,
    example: ["receipt", withSequence("18446744073709551616")],
  },
  "a number that is too large for a double": {
    isReason: ({ reason }) => reason === "expected a number that fits a 64-bit float",
    example: ["input-payload", withPayload("1e400")],
  },
  "a day that is not in its month, or a year out of range": {
    isReason: ({ reason, offset }, source) =>
      reason.startsWith("expected an RFC 3339 timestamp") && !isDay(textAt(source, offset)),
    example: ["input-row", ROW.replace("2026-05-28", "2026-02-29")],
  },
  "nanoseconds that carry the seconds beyond 2^63-1": {
    isReason: ({ reason }) => reason.startsWith("overflow deserializing SystemTime"),
    example: [
      "session",
      SESSION.replace(
        '"secs_since_epoch":0,"nanos_since_epoch":0',
        '"secs_since_epoch":9223372036854775807,"nanos_since_epoch":1000000000',
      ),
    ],
  },
  "a lone surrogate": {
    isReason: ({ reason }) => reason.includes("lone surrogate"),
    example: ["input-payload", withPayload('"\\ud800"')],
  },
  "more than 127 nested objects and lists": {
    isReason: ({ reason }) => reason === "expected at most 127 nested objects and lists",
    example: ["input-payload", withPayload("[".repeat(127) + "]".repeat(127))],
  },
  "a reserved member name": {
    isReason: ({ reason }) => reason === "expected a member name that is not reserved",
    example: ["input-payload", withPayload('{"$serde_json::private::RawValue":"1"}')],
  },
};

const textAt = (source: Uint8Array, offset: number | undefined): string =>
  Buffer.from(source).toString("utf8", offset ?? source.length);

/** Whether the date at the start of a timestamp exists, in a year that is in range in every zone. */
function isDay(timestamp: string): boolean {
  const [, year, month, day] = /^\s*([-+]?\d+)\s*-\s*(\d+)\s*-\s*(\d+)/u.exec(timestamp) ?? [];
  const date = new Date(Date.UTC(2000, Number(month) - 1, Number(day)));
  date.setUTCFullYear(Number(year));
  return Math.abs(Number(year)) < 262142 && date.getUTCDate() === Number(day);
}

/** Returns the value of a JSON text; undefined when the bytes are not UTF-8 or not JSON. */
function parsed(source: Uint8Array): JsonValue | undefined {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(source)) as JsonValue;
  } catch {
    return undefined;
  }
}

/** Returns the difference between the verdicts of the schema and of the reader, if it has none of the known reasons. */
function difference({ document, validate }: Rules, source: Uint8Array): string | undefined {
  const error = refusal(document, source);
  const value = parsed(source);
  // The reader does not look at the bytes of strings that it ignores.
  if (value === undefined)
    return error === undefined && isUtf8(source) ? "only the reader accepts the text" : undefined;
  const isValid = validate(value);
  if (isValid === (error === undefined)) return undefined;
  if (error === undefined) return `only the schema refuses it: ${ajv.errorsText(validate.errors)}`;
  const isKnown = Object.values(BEYOND_SCHEMA).some(({ isReason }) => isReason(error, source, document));
  return isKnown ? undefined : `only the reader refuses it: ${error.message}`;
}

const FILES: readonly [file: string, document: string][] = [
  ["sessions.jsonl", "session"],
  ["inputs.jsonl", "input-row"],
  ["receipts.jsonl", "receipt"],
  ["lifecycle.jsonl", "lifecycle-record"],
  ["ops.jsonl", "operation-snapshot"],
];

for (const [file, name] of FILES) {
  testVectors(file, `the schema of ${name} and the reader have the same verdict`, (vector) =>
    vector.op === "encode" ? undefined : difference(rulesOf(name), bytesOf(vector)),
  );
}

testVectors("inputs.jsonl", "the schema of an input row has the seed rules of the reference", (vector) => {
  const { authorize } = vector as unknown as { readonly authorize?: { readonly err?: string } };
  if (authorize === undefined) return undefined;
  const { document, validate, validateAll } = rulesOf("input-row");
  const value = JSON.parse(Buffer.from(bytesOf(vector)).toString("utf8")) as JsonObject;
  if (refusal(document, bytesOf(vector)) !== undefined || !validate(value)) return undefined;
  const isAuthorized = authorize.err === undefined;
  if (validateAll(value) === isAuthorized) return undefined;
  return isAuthorized || hasEqualAttempts(value) ? `expected ${isAuthorized ? "no" : "a"} refusal` : undefined;
});

test.each([
  [true, {}],
  [true, { terminal_outcome: null, recovery_lane: "queue" }],
  [false, { terminal_outcome: { outcome_type: "consumed" } }],
  [true, { current_state: "consumed", terminal_outcome: { outcome_type: "consumed" } }],
  [true, { current_state: "consumed", terminal_outcome: { outcome_type: "consumed" }, recovery_lane: null }],
  [false, { current_state: "consumed" }],
  [false, { current_state: "consumed", terminal_outcome: null }],
  [false, { current_state: "consumed", terminal_outcome: { outcome_type: "consumed" }, recovery_lane: "queue" }],
  [false, { current_state: "consumed", terminal_outcome: { outcome_type: "abandoned", reason: "reset" } }],
  [true, { ...exhausted(3), attempt_count: 3 }],
  [false, { ...exhausted(2), attempt_count: 2 }],
  [false, exhausted(3)],
])("a row is accepted (%s) by the seed rules with the members %j", (isAccepted, members) => {
  const row = { ...(JSON.parse(ROW) as JsonObject), ...members };
  const { document, validate, validateAll } = rulesOf("input-row");
  expect(refusal(document, Buffer.from(JSON.stringify(row)))).toBeUndefined();
  expect([validate(row), validateAll(row)]).toEqual([true, isAccepted]);
});

function exhausted(attempts: number): JsonObject {
  const reason = { max_attempts_exhausted: { attempts } };
  return { current_state: "abandoned", terminal_outcome: { outcome_type: "abandoned", reason } };
}

/** The seed rule that JSON Schema cannot express. */
function hasEqualAttempts(row: JsonObject): boolean {
  const { terminal_outcome: outcome } = row as {
    terminal_outcome?: { reason?: Record<string, { attempts?: number }> };
  };
  const { attempts } = outcome?.reason?.["max_attempts_exhausted"] ?? {};
  return attempts === undefined || attempts === row["attempt_count"];
}

const { schema: TIMESTAMP_SCHEMA } = TIMESTAMP.form() as ValueForm & { schema: { pattern: string } };
const PATTERN = new RegExp(TIMESTAMP_SCHEMA.pattern, "u");

testVectors("scalars.jsonl", "the pattern of a timestamp matches what the reader accepts", (vector) => {
  if (vector.kind !== "datetime") return undefined;
  const text = String(vector.input);
  const isMatch = PATTERN.test(text);
  if (isMatch === (canonicalTimestamp(text) !== undefined)) return undefined;
  return isMatch && !isDay(text) ? undefined : `${isMatch ? "only" : "not"} the pattern accepts ${text}`;
});

test.each(Object.entries(BEYOND_SCHEMA))(
  "only the reader refuses %s, and docs/documents.md says so",
  (kind, beyond) => {
    const [name, text] = beyond.example;
    const { document, validateAll } = rulesOf(name);
    const source = Buffer.from(text);
    expect(validateAll(JSON.parse(text)) || validateAll.errors).toBe(true);
    const error = refusal(document, source);
    expect(
      error && Object.keys(BEYOND_SCHEMA).filter((one) => BEYOND_SCHEMA[one]?.isReason(error, source, document)),
    ).toEqual([kind]);
    expect(readFileSync(PAGE, "utf8")).toContain(`- **${kind}**`);
  },
);

describe.each(DOCUMENTS)("the schema of $name", (document) => {
  const rules = rulesOf(document.name);

  test.each(examplesOf(document))("$path is accepted, and every member of it is needed", ({ text }) => {
    const value = JSON.parse(text) as JsonValue;
    expect(refusal(document, Buffer.from(text))).toBeUndefined();
    expect(rules.validateAll(value) || rules.validateAll.errors).toBe(true);
    const places = placesIn(value);
    expect(places).not.toEqual([]);
    for (const place of places) {
      const less = changed(value, place);
      expect([place, refusal(document, Buffer.from(JSON.stringify(less)))]).toEqual([place, expect.any(JsonError)]);
      expect([place, rules.validateAll(less)]).toEqual([place, false]);
    }
  });

  test("accepts every random document of the shape, as the reader does", () => {
    fc.assert(
      fc.property(documentsOf(document.shape.form()), (value) => {
        const source = Buffer.from(JSON.stringify(value));
        expect(difference(rules, source)).toBeUndefined();
        expect(refusal(document, source)).toBeUndefined();
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  test("accepts and refuses changed documents as the reader does", () => {
    const verdicts = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(changesOf(documentsOf(document.shape.form())), (value) => {
        const source = Buffer.from(JSON.stringify(value));
        expect(difference(rules, source)).toBeUndefined();
        verdicts[refusal(document, source) === undefined ? "accepted" : "refused"]++;
      }),
      { seed: 2, numRuns: 500 },
    );
    // A test that only one verdict reaches compares nothing.
    expect(Math.min(verdicts.accepted, verdicts.refused)).toBeGreaterThan(50);
  });
});
