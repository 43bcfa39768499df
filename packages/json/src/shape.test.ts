import fc from "fast-check";

import type { StoredInputState } from "./model/index.js";
import { readDocument, writeDocument } from "./document.js";
import { compareByBytes } from "./byte-order.js";
import { RAW_JSON, canonicalRawJson } from "./free-json.js";
import {
  JsonError,
  readInputState,
  readMachineLifecycle,
  readMachineLifecycleRecord,
  readOpsSnapshot,
  readReceipt,
  readRewriteCommit,
  readStoredInputState,
  uuidFromBytes,
  uuidToBytes,
  writeInputState,
  writeReceipt,
  writeRewriteCommit,
} from "./index.js";
import { PERSISTED_INPUT } from "./persisted-input.js";
import { JsonReader } from "./reader.js";
import { STRING } from "./scalar.js";
import { type VectorCase, testVectors } from "./vectors.test.helper.js";

const ID = "0198f0a0-0000-7000-8000-0000000000bb";
const TIME = "2026-05-28T15:31:27.100Z";
const HEADER =
  `"header":{"id":"${ID}","timestamp":"${TIME}","source":{"type":"operator"},"durability":"durable",` +
  `"visibility":{"transcript_eligible":true,"operator_eligible":true}}`;
const PROMPT = `{"input_type":"prompt",${HEADER},"text":"hello"}`;

function stateWith(changes: Partial<StoredInputState>): StoredInputState {
  return {
    inputId: ID,
    currentState: "queued",
    attemptCount: 0,
    recoveryCount: 0,
    history: [],
    createdAt: TIME,
    updatedAt: TIME,
    ...changes,
  };
}

function rowWith(members: string): string {
  return `{"input_id":"${ID}","current_state":"queued","created_at":"${TIME}","updated_at":"${TIME}"${members}}`;
}

function payloadOf(persistedInput: string): string | undefined {
  return readInputState(writeInputState(stateWith({ persistedInput }))).persistedInput;
}

function errorOf(run: () => unknown): JsonError {
  try {
    run();
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("reading", () => {
  test("an error names the member and the byte", () => {
    const history = `,"history":[{"timestamp":"${TIME}","from":"queued","to":"staged"},{"timestamp":"soon"}]`;
    const error = errorOf(() => readInputState(rowWith(history)));
    expect(error.path).toBe("history[1].timestamp");
    expect(error.offset).toBe(rowWith(history).indexOf("soon"));
    expect(error.message).toContain("history[1].timestamp: expected an RFC 3339 timestamp");
  });

  test("the text of a rule stands alone", () => {
    expect(errorOf(() => readInputState(rowWith(`,"stored_input_state_version":3`))).message).toBe(
      "generated session persistence version authority rejected StoredInputState: expected current 2 or legacy 1, got 3",
    );
  });

  test("the tag of a union may stand anywhere, once", () => {
    const origin = `{"peer_id":"p","x":[{}],"type":"peer"}`;
    expect(payloadOf(PROMPT.replace(`{"type":"operator"}`, origin))).toContain(`{"type":"peer","peer_id":"p"}`);
    const twice = PROMPT.replace(`{"type":"operator"}`, `{"type":"operator","\\u0074ype":"operator"}`);
    expect(errorOf(() => payloadOf(twice)).path).toBe("persisted_input.header.source");
  });

  test("the members of an image's data stand among the image's own", () => {
    const read = `[{"data":"AA==","source":"inline","zz":1,"media_type":"image/png","type":"image"}]`;
    const written = `[{"type":"image","media_type":"image/png","source":"inline","data":"AA=="}]`;
    expect(payloadOf(PROMPT.replace(/}$/, `,"blocks":${read}}`))).toContain(written);
  });

  test("system notices: the last of repeated members wins, and the status of a tool change is computed", () => {
    const block =
      `{"type":"mcp","type":"tool_config","payload":{"operation":"add","target":"t","status":"old","persisted":true,` +
      `"status_info":{"kind":"external_tool_delta","phase":"failed","detail":"why"}}}`;
    const appended = `[{"role":"system_notice","content":{"type":"system_notice","kind":"tool_scope","blocks":[${block}]}}]`;
    expect(payloadOf(PROMPT.replace(/}$/, `,"typed_turn_appends":${appended}}`))).toContain(
      `"blocks":[{"type":"tool_config","payload":{"operation":"add","target":"t","status":"failed: why","status_info":` +
        `{"kind":"external_tool_delta","phase":"failed","detail":"why"},"persisted":true}}]`,
    );
  });

  test("a system notice block of an unknown type is kept whole", () => {
    const block = `{"z":1,"type":"new","body":"b"}`;
    const appended = `[{"role":"user","content":{"type":"system_notice","kind":"mcp","blocks":[${block}]}}]`;
    expect(payloadOf(PROMPT.replace(/}$/, `,"typed_turn_appends":${appended}}`))).toContain(
      `"blocks":[{"type":"unknown","summary":"b","payload":{"body":"b","type":"new","z":1}}]`,
    );
  });

  test("turn metadata keeps its numbers and spellings", () => {
    const metadata = `{ "provider_params" : {"temperature": 1e0, "a\\u0062 \\" c":[ 1.50 ] } }`;
    expect(payloadOf(PROMPT.replace(/}$/, `,"turn_metadata":${metadata}}`))).toContain(
      `"turn_metadata":{"provider_params":{"temperature":1e0,"a\\u0062 \\" c":[1.50]}}`,
    );
  });

  test("a stored row is read like any other", () => {
    const row = writeInputState(stateWith({ persistedInput: PROMPT, lastBoundarySequence: 2n ** 64n - 1n }));
    expect(readStoredInputState(row)).toEqual(readInputState(row));
    expect(() => readStoredInputState(row.subarray(0, -1))).toThrow(JsonError);
  });

  test("a lifecycle record of another version is shown, but not decoded", () => {
    const record = `{"record_version":2,"runtime_state":"paused","binding":{"fence_token":7},"more":1}`;
    expect(readMachineLifecycleRecord(record)).toEqual({
      recordVersion: 2,
      runtimeState: "paused",
      binding: { fenceToken: 7n },
    });
    expect(errorOf(() => readMachineLifecycle(record.replace("paused", "idle"))).message).toBe(
      "unsupported machine lifecycle store record version 2",
    );
  });

  test("a rewrite commit is written as the reference does", () => {
    const commit =
      `{"parent_revision":"sha256:a","revision":"sha256:b","selection":{"type":"message_range","start":1,"end":2},` +
      `"original_span_digest":"c","replacement_digest":"d","messages_before":2,"messages_after":2,` +
      `"reason":{"kind":"compaction"},"actor":"x","committed_at":{"secs_since_epoch":1779982290,"nanos_since_epoch":500}}`;
    expect(writeRewriteCommit(readRewriteCommit(commit)).toString()).toBe(commit);
  });

  test("operations are written in the order of their ids", () => {
    const refused = `{"epoch_id":"${ID}","authority_state":{"operations":{"x":{}}}}`;
    expect(errorOf(() => readOpsSnapshot(refused)).path).toBe("authority_state.operations.x");
  });
});

describe("writing", () => {
  const refusals: [string, Partial<Record<keyof StoredInputState, unknown>>, string][] = [
    ["an id that is no UUID", { inputId: "x" }, "input_id"],
    ["an unknown state", { currentState: "lost" }, "current_state"],
    ["a half surrogate", { idempotencyKey: "a\ud800" }, "idempotency_key"],
    ["a count beyond 32 bits", { attemptCount: 2 ** 32 }, "attempt_count"],
    ["a fraction", { recoveryCount: 0.5 }, "recovery_count"],
    ["a sequence below zero", { admissionSequence: -1n }, "admission_sequence"],
    ["a number for a bigint", { admissionSequence: 1 }, "admission_sequence"],
    [
      "a timestamp that is none",
      { history: [{ timestamp: "soon", from: "queued", to: "staged" }] },
      "history[0].timestamp",
    ],
    ["an outcome without its id", { terminalOutcome: { kind: "superseded" } }, "terminal_outcome.superseded_by"],
    ["an unknown outcome", { terminalOutcome: { kind: "lost" } }, "terminal_outcome.outcome_type"],
    ["a payload that is no input", { persistedInput: `{"input_type":"mystery"}` }, "persisted_input.input_type"],
    ["two payloads", { persistedInput: `${PROMPT}{}` }, "persisted_input"],
    ["a missing time", { createdAt: undefined }, "created_at"],
  ];
  test.each(refusals)("%s is refused", (_, changes, path) => {
    const error = errorOf(() => writeInputState(stateWith(changes as Partial<StoredInputState>)));
    expect(error.path).toBe(path);
  });

  test("spellings are brought into their written form", () => {
    const row = writeInputState(
      stateWith({
        inputId: `urn:uuid:${ID.toUpperCase()}`,
        createdAt: "2026-05-28T17:31:27.1+02:00",
        persistedInput: ` ${PROMPT.replace("hello", "h\\u0065llo")} `,
      }),
    );
    expect(row).toEqual(writeInputState(stateWith({ persistedInput: PROMPT })));
  });

  test("a payload that could not be read again inside the row is refused", () => {
    const nested = (depth: number) =>
      PROMPT.replace(/}$/, `,"turn_metadata":{"a":${"[".repeat(depth)}${"]".repeat(depth)}}}`);
    const row = writeInputState(stateWith({ persistedInput: nested(124) }));
    expect(readInputState(row).persistedInput).toBe(nested(124));
    expect(() => writeInputState(stateWith({ persistedInput: nested(125) }))).toThrow(JsonError);
  });
});

describe("properties", () => {
  // Numbers of few digits: the reference's reader moves others by a unit in the last place on every pass (section 15.1).
  const freeJson = fc
    .jsonValue({ stringUnit: "binary" })
    .map((value) =>
      JSON.stringify(value, (_, item: unknown) => (typeof item === "number" ? Math.round(item % 1e6) / 4 : item)),
    );

  test("free JSON is stable after one pass and keeps its value", () => {
    fc.assert(
      fc.property(freeJson, (text) => {
        const once = canonicalRawJson(text);
        expect(canonicalRawJson(once)).toBe(once);
        expect(JSON.parse(once)).toEqual(JSON.parse(text));
      }),
    );
  });

  test("free JSON is recognised as written exactly when normalising changes nothing", () => {
    fc.assert(
      fc.property(freeJson, fc.boolean(), (text, isSpaced) => {
        const source = isSpaced ? JSON.stringify(JSON.parse(text), undefined, 1) : text;
        const reader = new JsonReader(source);
        const isWritten = RAW_JSON.skipCanonical?.(reader) === true && reader.position === reader.bytes.length;
        const hasEscapedName = /\\[^"]*":|\\"[^"]*":/.test(source);
        if (!hasEscapedName) expect(isWritten).toBe(canonicalRawJson(source) === source);
        else if (isWritten) expect(canonicalRawJson(source)).toBe(source);
      }),
    );
  });

  test("strings pass unchanged, in the spelling of JSON.stringify", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
        const written = writeDocument(STRING, text).toString();
        expect(written).toBe(JSON.stringify(text));
        expect(readDocument(STRING, Buffer.from(written))).toBe(text);
      }),
    );
  });

  test("names are ordered by their bytes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (left, right) => {
        expect(Math.sign(compareByBytes(left, right))).toBe(Buffer.compare(Buffer.from(left), Buffer.from(right)));
      }),
    );
  });

  test("a UUID is its 16 bytes, in every spelling", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = uuidFromBytes(bytes);
        for (const spelling of [text, text.toUpperCase(), text.replaceAll("-", ""), `{${text}}`, `urn:uuid:${text}`]) {
          expect(uuidToBytes(spelling)).toEqual(bytes);
        }
      }),
    );
  });

  test("a receipt survives writing and reading", () => {
    const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(uuidFromBytes);
    const receipt = fc.record({
      runId: uuid,
      boundary: fc.constantFrom("immediate", "run_start", "run_checkpoint"),
      contributingInputIds: fc.array(uuid),
      messageCount: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      conversationDigest: fc.string({ unit: "binary" }),
    });
    fc.assert(
      fc.property(receipt, (value) => {
        expect(readReceipt(writeReceipt(value))).toEqual(value);
      }),
    );
  });
});

testVectors("inputs.jsonl", "payloads are recognised as written only when they are", (vector: VectorCase) => {
  for (const row of [String(vector.input), vector.expect.ok?.["reencoded"] ?? ""]) {
    const start = row.indexOf(`"persisted_input":`) + `"persisted_input":`.length;
    if (start < `"persisted_input":`.length) continue;
    const bytes = Buffer.from(row.slice(start));
    const reader = new JsonReader(bytes, 1);
    let isWritten = false;
    try {
      isWritten = PERSISTED_INPUT.skipCanonical?.(reader) === true;
    } catch (error) {
      if (!(error instanceof JsonError)) return `threw ${String(error)}`;
    }
    if (!isWritten) continue;
    const text = bytes.toString("utf8", 0, reader.position);
    const written = writeDocument(PERSISTED_INPUT, readDocument(PERSISTED_INPUT, text)).toString();
    if (written !== text) return `${text} was taken for ${written}`;
  }
  return undefined;
});
