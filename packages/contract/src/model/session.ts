import type { SystemTime } from "./ids.js";

/**
 * What a runtime commits as its session. `session` follows the reference's transcript rules; `opaque` is bytes of any
 * kind under versions and compare-and-set only (section 14.16).
 */
export const SESSION_PROFILES = ["session", "opaque"] as const;
export type SessionProfile = (typeof SESSION_PROFILES)[number];

/** A whole session document, or bytes of another runtime's making. */
export interface SessionDelta {
  /** Kept by reference until the call ends: do not change it meanwhile. */
  readonly sessionSnapshot: Uint8Array;
  /** Absent: the stored snapshot's profile, or `session` when nothing is stored. */
  readonly profile?: SessionProfile | undefined;
}

/** Replace the messages in `[start, end)`. */
export interface TranscriptRewriteSelection {
  readonly kind: "message_range";
  readonly start: bigint;
  readonly end: bigint;
}

/** The audit record of one transcript rewrite (section 7.7). Two commits are equal when all their fields are. */
export interface TranscriptRewriteCommit {
  readonly parentRevision: string;
  readonly revision: string;
  readonly selection: TranscriptRewriteSelection;
  readonly originalSpanDigest: string;
  readonly replacementDigest: string;
  readonly messagesBefore: bigint;
  readonly messagesAfter: bigint;
  readonly reason: { readonly kind: string; readonly note?: string | undefined };
  readonly actor?: string | undefined;
  readonly committedAt: SystemTime;
}
