import type { Version } from "./ids.js";

/**
 * The kinds of documents that a runtime can commit as its session. A `session` follows the reference's transcript rules. An
 * `opaque` document is any bytes: the store offers only versions and compare-and-set for it (contract 2.12).
 */
export const SESSION_PROFILES = ["session", "opaque"] as const;
export type SessionProfile = (typeof SESSION_PROFILES)[number];

/** A complete new session document. */
export interface SessionDelta {
  /** Kept by reference until the call ends: do not change the bytes before that. */
  readonly sessionSnapshot: Uint8Array;
  /** When absent: the profile of the stored document, or `session` when nothing is stored. */
  readonly profile?: SessionProfile | undefined;
}

/** A range of a document, in bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** One part of a new document: new bytes, or a range of the base document. */
export type DocumentPart = Uint8Array | ByteRange;

/** A new session document, described by the differences from the stored one, its base. */
export interface SnapshotPatch {
  /** The version of the base. When another version is stored, the patch is rejected with BASE_NOT_CURRENT. */
  readonly baseVersion: Version;
  /** The length of the new document in bytes. */
  readonly resultLength: number;
  /** The CRC-32 (as in zlib) of the whole new document. */
  readonly resultCrc32: number;
  /**
   * The parts of the new document, from its beginning to its end: at most `Limits.patchPieces`, with at most
   * `Limits.patchInsertBytes` of new bytes.
   */
  readonly pieces: readonly DocumentPart[];
}
