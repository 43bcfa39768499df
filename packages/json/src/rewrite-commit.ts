import type { Buffer } from "node:buffer";

import type { TranscriptRewriteCommit, TranscriptRewriteSelection } from "./model/index.js";
import { readDocument, writeDocument } from "./document.js";
import { STRING, U64 } from "./scalar.js";
import { optional, required } from "./field.js";
import { struct } from "./struct.js";
import { SYSTEM_TIME } from "./system-time.js";
import { taggedUnion } from "./union.js";

const SELECTION = taggedUnion<TranscriptRewriteSelection>("a selection", "type", {
  message_range: { start: required("start", U64), end: required("end", U64) },
});

/** Section 7.7. */
export const REWRITE_COMMIT = struct<TranscriptRewriteCommit>("a rewrite commit", {
  parentRevision: required("parent_revision", STRING),
  revision: required("revision", STRING),
  selection: required("selection", SELECTION),
  originalSpanDigest: required("original_span_digest", STRING),
  replacementDigest: required("replacement_digest", STRING),
  messagesBefore: required("messages_before", U64),
  messagesAfter: required("messages_after", U64),
  reason: required(
    "reason",
    struct<TranscriptRewriteCommit["reason"]>("a reason", {
      kind: required("kind", STRING),
      note: optional("note", STRING),
    }),
  ),
  actor: optional("actor", STRING),
  committedAt: required("committed_at", SYSTEM_TIME),
});

export function readRewriteCommit(source: Uint8Array | string): TranscriptRewriteCommit {
  return readDocument(REWRITE_COMMIT, source);
}

export function writeRewriteCommit(commit: TranscriptRewriteCommit): Buffer {
  return writeDocument(REWRITE_COMMIT, commit);
}
