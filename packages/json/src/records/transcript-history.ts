import type { Buffer } from "node:buffer";

import { list } from "../shapes/collection.js";
import { valueForm } from "../shapes/form.js";
import type { RawJson } from "../shapes/raw-json.js";
import { STRING, U64 } from "../shapes/scalar.js";
import { type Shape, readDocument, writeDocument } from "../shapes/shape.js";
import { omittedWhenEmpty, optional, required, struct } from "../shapes/struct.js";
import { SYSTEM_TIME, type SystemTime } from "../shapes/time.js";
import { taggedUnion } from "../shapes/union.js";
import { MESSAGES, type MessageList } from "./message-list.js";

/** The messages that a rewrite replaced: those from `start` up to, not including, `end`. */
export interface TranscriptRewriteSelection {
  readonly kind: "message_range";
  readonly start: bigint;
  readonly end: bigint;
}

/** The audit record of one transcript rewrite (contract 8.2). Two commits are equal when all their members are equal. */
export interface TranscriptRewriteCommit {
  /** The digest of the messages before the rewrite. */
  readonly parentRevision: string;
  /** The digest of the messages after the rewrite. */
  readonly revision: string;
  readonly selection: TranscriptRewriteSelection;
  /** The digest of the messages that were replaced. */
  readonly originalSpanDigest: string;
  /** The digest of the messages that replaced them. */
  readonly replacementDigest: string;
  /** The number of messages before and after the rewrite: 0 to 2^64-1. */
  readonly messagesBefore: bigint;
  readonly messagesAfter: bigint;
  /** Free text for audits. The store does not interpret it. */
  readonly reason: { readonly kind: string; readonly note?: string | undefined };
  readonly actor?: string | undefined;
  readonly committedAt: SystemTime;
}

/** A complete copy of the transcript at one revision. */
export interface TranscriptRevisionBody {
  readonly revision: string;
  readonly parentRevision?: string | undefined;
  readonly messages: MessageList;
  readonly createdAt: SystemTime;
}

/** The revisions that a session keeps after a rewrite (contract 8.1). */
export interface TranscriptHistory {
  /** The revision of the session's messages. */
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly revisions: readonly TranscriptRevisionBody[];
}

/** Any text: only the guards compare digests. The example is the digest of the empty list. */
const DIGEST: Shape<string> = {
  ...STRING,
  form: () =>
    valueForm(
      {
        description: "The digest of a list of messages: sha256: and 64 hexadecimal digits in lower case.",
        $comment: "Not in this schema: the store compares digests when a turn or a rewrite is committed.",
        type: "string",
      },
      "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
      "Digest",
    ),
};

const SELECTION = taggedUnion<TranscriptRewriteSelection>("a selection", "type", {
  message_range: { start: required("start", U64), end: required("end", U64) },
});

export const REWRITE_COMMIT = struct<TranscriptRewriteCommit>("a rewrite commit", {
  parentRevision: required("parent_revision", DIGEST),
  revision: required("revision", DIGEST),
  selection: required("selection", SELECTION),
  originalSpanDigest: required("original_span_digest", DIGEST),
  replacementDigest: required("replacement_digest", DIGEST),
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

export const HISTORY = struct<TranscriptHistory>("a transcript history", {
  head: required("head", DIGEST),
  commits: omittedWhenEmpty("commits", list(REWRITE_COMMIT)),
  revisions: omittedWhenEmpty(
    "revisions",
    list(
      struct<TranscriptRevisionBody>("a transcript revision", {
        revision: required("revision", DIGEST),
        parentRevision: optional("parent_revision", DIGEST),
        messages: required("messages", MESSAGES),
        createdAt: required("created_at", SYSTEM_TIME),
      }),
    ),
  ),
});

const HISTORY_MEMBER = "session_transcript_history_state_v1";

/**
 * Reads the history in a session's metadata. Undefined when the session was never rewritten. Throws a `JsonError` when the
 * member has another shape.
 */
export function readTranscriptHistory(metadata: RawJson): TranscriptHistory | undefined {
  const reader = metadata.member(HISTORY_MEMBER);
  return reader && HISTORY.read(reader);
}

/** Reads a rewrite commit (contract 8.2). Throws a `JsonError` when the text is not one. */
export function readRewriteCommit(source: Uint8Array | string): TranscriptRewriteCommit {
  return readDocument(REWRITE_COMMIT, source);
}

/** Returns the canonical JSON of a rewrite commit. Throws a `JsonError` when a value is not allowed. */
export function writeRewriteCommit(commit: TranscriptRewriteCommit): Buffer {
  return writeDocument(REWRITE_COMMIT, commit);
}
