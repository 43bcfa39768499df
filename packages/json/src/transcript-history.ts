import type { SystemTime, TranscriptRewriteCommit } from "./model/index.js";
import { list } from "./collection.js";
import { omittedWhenEmpty, optional, required } from "./field.js";
import type { RawJson } from "./free-json.js";
import { MESSAGES, type MessageList } from "./message-list.js";
import { REWRITE_COMMIT } from "./rewrite-commit.js";
import { STRING } from "./scalar.js";
import { struct } from "./struct.js";
import { SYSTEM_TIME } from "./system-time.js";

/** A complete copy of the transcript as it was at one revision. */
export interface TranscriptRevisionBody {
  readonly revision: string;
  readonly parentRevision?: string | undefined;
  readonly messages: MessageList;
  readonly createdAt: SystemTime;
}

/** The revisions that a rewritten session keeps (section 7.7). */
export interface TranscriptHistory {
  readonly head: string;
  readonly commits: readonly TranscriptRewriteCommit[];
  readonly revisions: readonly TranscriptRevisionBody[];
}

const HISTORY = struct<TranscriptHistory>("a transcript history", {
  head: required("head", STRING),
  commits: omittedWhenEmpty("commits", list(REWRITE_COMMIT)),
  revisions: omittedWhenEmpty(
    "revisions",
    list(
      struct<TranscriptRevisionBody>("a transcript revision", {
        revision: required("revision", STRING),
        parentRevision: optional("parent_revision", STRING),
        messages: required("messages", MESSAGES),
        createdAt: required("created_at", SYSTEM_TIME),
      }),
    ),
  ),
});

const HISTORY_MEMBER = "session_transcript_history_state_v1";

/** The history that a session's metadata carries, if any; a `JsonError` when it has another shape. */
export function readTranscriptHistory(metadata: RawJson): TranscriptHistory | undefined {
  const reader = metadata.member(HISTORY_MEMBER);
  return reader && HISTORY.read(reader);
}
