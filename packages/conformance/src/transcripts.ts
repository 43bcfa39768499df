import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { INSTANT, sessionId } from "./fixtures.js";

/** Messages by their texts; all are a user's, of one instant. */
export type Texts = readonly string[];

export const someTexts = (count: number, size = 200): string[] =>
  Array.from({ length: count }, (_, n) => `message ${String(n)} `.padEnd(size, `${String(n)} `));

const digestOf = (texts: Texts): string => {
  const messages = texts.map((content) => JSON.stringify({ role: "user", content, created_at: INSTANT }));
  return `sha256:${createHash("sha256")
    .update(`[${messages.join(",")}]`)
    .digest("hex")}`;
};

/** A history as the reference keeps it: every body a whole copy, with sorted members (section 7.7). */
export interface History {
  readonly commits: readonly object[];
  readonly head: string;
  readonly revisions: readonly object[];
}

const TIME = { nanos_since_epoch: 0, secs_since_epoch: 1779982287 };

const bodyOf = (texts: Texts, parent?: string): object => ({
  created_at: TIME,
  messages: texts.map((content) => ({ content, created_at: INSTANT, role: "user" })),
  ...(parent === undefined ? {} : { parent_revision: parent }),
  revision: digestOf(texts),
});

/** A session of these messages. */
export const transcript = (texts: Texts, history?: History): Buffer =>
  Buffer.from(
    JSON.stringify({
      version: 2,
      id: sessionId(1),
      messages: texts.map((content) => ({ role: "user", content, created_at: INSTANT })),
      created_at: { secs_since_epoch: 1779982287, nanos_since_epoch: 0 },
      updated_at: { secs_since_epoch: 1779982287 + texts.length, nanos_since_epoch: 0 },
      metadata: history ? { session_transcript_history_state_v1: history } : {},
      usage: { input_tokens: 0, output_tokens: 0, cache_creation_tokens: null, cache_read_tokens: null },
    }),
  );

/** One rewrite: the messages in `[start, end)` become others. */
export interface Rewrite {
  readonly texts: Texts;
  readonly history: History;
  readonly document: Buffer;
  readonly commit: TranscriptRewriteCommit;
}

/** Of a session that has no history yet. */
export function rewrite(before: Texts, start: number, end: number, replacement: Texts): Rewrite {
  const texts = [...before.slice(0, start), ...replacement, ...before.slice(end)];
  const [parentRevision, revision] = [digestOf(before), digestOf(texts)];
  const [originalSpanDigest, replacementDigest] = [digestOf(before.slice(start, end)), digestOf(replacement)];
  const history: History = {
    commits: [
      {
        committed_at: TIME,
        messages_after: texts.length,
        messages_before: before.length,
        original_span_digest: originalSpanDigest,
        parent_revision: parentRevision,
        reason: { kind: "compaction" },
        replacement_digest: replacementDigest,
        revision,
        selection: { end, start, type: "message_range" },
      },
    ],
    head: revision,
    revisions: [bodyOf(before), bodyOf(texts, parentRevision)],
  };
  const commit: TranscriptRewriteCommit = {
    parentRevision,
    revision,
    selection: { kind: "message_range", start: BigInt(start), end: BigInt(end) },
    originalSpanDigest,
    replacementDigest,
    messagesBefore: BigInt(before.length),
    messagesAfter: BigInt(texts.length),
    reason: { kind: "compaction" },
    committedAt: { seconds: BigInt(TIME.secs_since_epoch), nanos: TIME.nanos_since_epoch },
  };
  return { texts, history, document: transcript(texts, history), commit };
}

/** An append to a session with a history adds one body, and the head moves to it. */
export function appended(history: History, texts: Texts): History {
  const body = bodyOf(texts, history.head);
  return { ...history, head: digestOf(texts), revisions: [...history.revisions, body] };
}
