import type { SystemTime, Version } from "./ids.js";

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

/** A stretch of a document, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What a document is put together of: new bytes, and stretches of the document that it is made from. */
export type DocumentPart = Uint8Array | ByteRange;

/** A new document as parts of the stored one and new bytes. */
export interface SnapshotPatch {
  /** Of the stored snapshot; when another one is stored, the patch is refused as BASE_NOT_CURRENT. */
  readonly baseVersion: Version;
  /** In bytes. */
  readonly resultLength: number;
  /** CRC-32 (as in zlib) of the whole new document. */
  readonly resultCrc32: number;
  /** From the new document's beginning to its end. At most `Limits.patchPieces`, with `Limits.patchInsertBytes` of new bytes. */
  readonly pieces: readonly DocumentPart[];
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
