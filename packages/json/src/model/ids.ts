/** A runtime's name: any UTF-8 text, also empty, never normalised or aliased (section 14.14). */
export type RuntimeId = string;

/** A UUID in its lower-case hyphenated form. Every version and the nil UUID are accepted (section 1). */
export type Uuid = string;
export type SessionId = Uuid;
export type RunId = Uuid;
export type InputId = Uuid;
export type OperationId = Uuid;

/** An opaque record version: compare it for equality only. None is ever used twice, not after a delete or a restore. */
export type Version = string;

/** An instant as RFC 3339 text in UTC with 0, 3, 6 or 9 fractional digits (section 7.4). */
export type Timestamp = string;

/** The reference's `SystemTime`: seconds since the epoch, and 0 to 999,999,999 nanoseconds. */
export interface SystemTime {
  readonly seconds: bigint;
  readonly nanos: number;
}
