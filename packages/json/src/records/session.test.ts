import { createHash } from "node:crypto";

import { errorOf } from "../testing/input-rows.js";
import { type VectorCase, bytesOf, testVectors } from "../testing/vectors.js";
import { JsonError } from "../text/json-error.js";
import type { MessageList } from "./message-list.js";
import { readSession, writeSession } from "./session.js";
import { readTranscriptHistory } from "./transcript-history.js";

/** The transcript digest of the reference (contract 7.7). */
const digestOf = (messages: MessageList): string => {
  const digest = createHash("sha256").update("[");
  let isFirst = true;
  for (const slice of messages.slices(0, messages.length)) {
    if (!isFirst) digest.update(",");
    isFirst = false;
    digest.update(slice);
  }
  return `sha256:${digest.update("]").digest("hex")}`;
};

interface Expected {
  readonly id: string;
  readonly message_count: number;
  readonly digest?: string;
  readonly revision?: string;
  readonly revision_err?: string;
  readonly reencoded?: string;
  /** The result of a second pass, where it is different. */
  readonly again?: { readonly ok?: Pick<Expected, "digest" | "reencoded">; readonly err?: string };
}

function problemOf(vector: VectorCase): string | undefined {
  const { ok, err } = vector.expect as unknown as { ok?: Expected; err?: string };
  let session;
  try {
    session = readSession(bytesOf(vector));
  } catch (error) {
    if (!(error instanceof JsonError)) return `threw ${String(error)}`;
    if (err === undefined) return vector.quirk ? undefined : `rejected: ${error.message}`;
    const text = err.replace(/ at line \d+ column \d+$/, "");
    // A list in place of an object may be rejected before any rule is checked (contract 9.10).
    const isRule =
      vector.name !== "positional-version-three" && /rejected SessionEnvelope|overflow deserializing/.test(err);
    return isRule && error.message !== text ? `expected the error ${text}, found ${error.message}` : undefined;
  }
  if (ok === undefined) return vector.quirk ? undefined : "accepted";
  if (session.id !== ok.id) return `id ${session.id}`;
  if (session.messages.length !== ok.message_count) return `${session.messages.length} messages`;
  if (ok.digest === undefined) return undefined;
  const digest = digestOf(session.messages);
  if (digest !== ok.digest) return `digest ${digest}`;
  const reencoded = writeSession(session).toString();
  if (reencoded !== ok.reencoded) return `written as ${reencoded}`;
  let revision: string | undefined;
  try {
    revision = readTranscriptHistory(session.metadata)?.head ?? digest;
  } catch (error) {
    if (!(error instanceof JsonError)) return `history threw ${String(error)}`;
  }
  if (revision !== ok.revision) return `revision ${revision ?? "malformed"}`;
  const { again } = ok;
  if (again?.err !== undefined) return undefined;
  const second = readSession(reencoded);
  if (digestOf(second.messages) !== (again?.ok?.digest ?? digest)) return "another digest on the second pass";
  return writeSession(second).toString() === (again?.ok?.reencoded ?? reencoded)
    ? undefined
    : "another text on the second pass";
}

testVectors("sessions.jsonl", "sessions are read and written as in the reference", problemOf);

const TIME = `{"secs_since_epoch":1,"nanos_since_epoch":0}`;
const sessionOf = (messages: string, more = ""): string =>
  `{"id":"0198F0A0000070008000000000000001","messages":[${messages}],"created_at":${TIME},"updated_at":[0,1000000001]${more}}`;

test.each([
  ["", "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"],
  [
    '{"role":"user","content":"hello","created_at":"2026-05-28T15:31:27Z"}',
    "sha256:24562feea6e745e5cf7cd3e5005f2736ca29c94c47e303938be1e848712fdfe6",
  ],
  [
    ' { "created_at" : "2026-05-28T17:31:27.10+02:00", "content": [{"text":"hello","type":"text"}], "role": "user" } ',
    "sha256:50bd9f84219622ef1f6f9ba3a03fb5087bb9019a817a849e9ffb1e66c32c4453",
  ],
  [
    '{"role":"assistant","content":"hi","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2},' +
      '"created_at":"2026-05-28T15:31:27.500Z"}',
    "sha256:fa438dea273e819620e8c5a5a8f72675a7769aac0cb8f1b146bf9ef079c07d3e",
  ],
  [
    '{"role":"system_notice","kind":"mcp_pending","blocks":[{"type":"mcp","server_id":"s"}],"created_at":"2026-05-28T15:31:27.123Z"}',
    "sha256:33a51429cad67e61f4d58bae68e6eb3798a4e9cf5df8d8f387fcbb4287306f1e",
  ],
])("the digest of the messages [%s] is %s", (messages, digest) => {
  expect(digestOf(readSession(sessionOf(messages)).messages)).toBe(digest);
});

test("a session is written in canonical form", () => {
  const text = sessionOf('{"role":"user","content":"a"},{"content":"b","role":"system"}', ',"metadata":{"b":1,"a":2}');
  expect(writeSession(readSession(text)).toString()).toBe(
    '{"version":2,"id":"0198f0a0-0000-7000-8000-000000000001","messages":[' +
      '{"role":"user","content":"a","created_at":"1970-01-01T00:00:00Z"},' +
      '{"role":"system","content":"b","created_at":"1970-01-01T00:00:00Z"}],' +
      `"created_at":${TIME},"updated_at":{"secs_since_epoch":1,"nanos_since_epoch":1},"metadata":{"a":2,"b":1},` +
      '"usage":{"input_tokens":0,"output_tokens":0,"cache_creation_tokens":null,"cache_read_tokens":null}}',
  );
});

test.each([
  [
    sessionOf("", ',"version":3'),
    "generated session persistence version authority rejected SessionEnvelope: expected current 2 or legacy 1, got 3",
  ],
  [sessionOf("", ',"metadata":null'), "metadata: expected an object"],
  [
    sessionOf('{"role":"user","content":[{"type":"text"}]}'),
    "messages[0].content: data did not match any variant of untagged enum StringOrBlocks; " +
      "expected a string or a list of blocks ([0].text: the member is missing)",
  ],
  [sessionOf('{"role":"user","content":"\\ud800"}'), "messages[0].content: a string contains a lone surrogate"],
  [sessionOf('{"content":"x"}'), "messages[0].role: the member is missing"],
])("the session %s is rejected", (text, message) => {
  const error = errorOf(() => readSession(text));
  expect(error.message.replace(/ \(byte \d+\)$/, "")).toBe(message);
});
