import { readDocument, writeDocument } from "../shapes/shape.js";
import { PROMPT, errorOf, payloadAfterWriting, promptWith } from "../testing/input-rows.js";
import { testVectors } from "../testing/vectors.js";
import { JsonError } from "../text/json-error.js";
import { JsonReader } from "../text/reader.js";
import { PERSISTED_INPUT } from "./persisted-input.js";

test("the tag of a union may be at any place, but not twice", () => {
  const origin = `{"peer_id":"p","x":[{}],"type":"peer"}`;
  const payload = PROMPT.replace(`{"type":"operator"}`, origin);
  expect(payloadAfterWriting(payload)).toContain(`{"type":"peer","peer_id":"p"}`);
  const twice = PROMPT.replace(`{"type":"operator"}`, `{"type":"operator","\\u0074ype":"operator"}`);
  expect(errorOf(() => payloadAfterWriting(twice)).path).toBe("persisted_input.header.source");
});

test("the members of an image's data are members of the image", () => {
  const read = `[{"data":"AA==","source":"inline","zz":1,"media_type":"image/png","type":"image"}]`;
  const written = `[{"type":"image","media_type":"image/png","source":"inline","data":"AA=="}]`;
  expect(payloadAfterWriting(promptWith(`"blocks":${read}`))).toContain(written);
});

test("in a system notice block the last of repeated members wins, and the status of a tool change is computed", () => {
  const block =
    `{"type":"mcp","type":"tool_config","payload":{"operation":"add","target":"t","status":"old","persisted":true,` +
    `"status_info":{"kind":"external_tool_delta","phase":"failed","detail":"why"}}}`;
  const appends = `[{"role":"system_notice","content":{"type":"system_notice","kind":"tool_scope","blocks":[${block}]}}]`;
  expect(payloadAfterWriting(promptWith(`"typed_turn_appends":${appends}`))).toContain(
    `"blocks":[{"type":"tool_config","payload":{"operation":"add","target":"t","status":"failed: why","status_info":` +
      `{"kind":"external_tool_delta","phase":"failed","detail":"why"},"persisted":true}}]`,
  );
});

test("a system notice block of an unknown type is kept as a whole", () => {
  const block = `{"z":1,"type":"new","body":"b"}`;
  const appends = `[{"role":"user","content":{"type":"system_notice","kind":"mcp","blocks":[${block}]}}]`;
  expect(payloadAfterWriting(promptWith(`"typed_turn_appends":${appends}`))).toContain(
    `"blocks":[{"type":"unknown","summary":"b","payload":{"body":"b","type":"new","z":1}}]`,
  );
});

test("turn metadata keeps its numbers and spellings", () => {
  const metadata = `{ "provider_params" : {"temperature": 1e0, "a\\u0062 \\" c":[ 1.50 ] } }`;
  expect(payloadAfterWriting(promptWith(`"turn_metadata":${metadata}`))).toContain(
    `"turn_metadata":{"provider_params":{"temperature":1e0,"a\\u0062 \\" c":[1.50]}}`,
  );
});

testVectors("inputs.jsonl", "a payload is recognised as canonical only when it is", (vector) => {
  for (const row of [String(vector.input), vector.expect.ok?.["reencoded"] ?? ""]) {
    const start = row.indexOf(`"persisted_input":`) + `"persisted_input":`.length;
    if (start < `"persisted_input":`.length) continue;
    const bytes = Buffer.from(row.slice(start));
    const reader = new JsonReader(bytes, 1);
    let isCanonical = false;
    try {
      isCanonical = PERSISTED_INPUT.skipCanonical?.(reader) === true;
    } catch (error) {
      if (!(error instanceof JsonError)) return `threw ${String(error)}`;
    }
    if (!isCanonical) continue;
    const text = bytes.toString("utf8", 0, reader.position);
    const written = writeDocument(PERSISTED_INPUT, readDocument(PERSISTED_INPUT, text)).toString();
    if (written !== text) return `recognised ${text}, but it is written as ${written}`;
  }
  return undefined;
});

test("the payload of an external event keeps every member, and another input drops unknown ones", () => {
  const payload = '{"a":{"b":[1,null,"x"],"own":true},"big":18446744073709551615,"z":0.5}';
  const header = /"header":\{.*\}\}/.exec(PROMPT)?.[0] ?? "";
  const event = `{"input_type":"external_event",${header},"event_type":"own","payload":${payload}}`;
  expect(payloadAfterWriting(event)).toContain(`"payload":${payload}`);
  expect(payloadAfterWriting(promptWith('"own":true'))).toBe(payloadAfterWriting(PROMPT));
});
