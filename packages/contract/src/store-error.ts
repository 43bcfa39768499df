import type { RuntimeId } from "@bolthole/json/model";
import type { Applied, Retry, StoreErrorReason, StoreErrorVariant } from "./error-reasons.js";
import { STORE_ERROR_REASONS, STORE_ERROR_VARIANTS } from "./error-reasons.js";
import type { RequestIdTimes } from "./request-ids.js";

/**
 * Makes `instanceof` accept the instances of every loaded copy of a class: a program may hold two versions of this
 * package, or load it in two module systems. Classes derived from it keep the ordinary `instanceof`.
 */
export function shareIdentity(type: abstract new (...args: never[]) => Error, name: string): void {
  const brand = Symbol.for(`@bolthole/contract/${name}`);
  const hasInstance = function (this: unknown, value: unknown): boolean {
    if (this !== type) return Function.prototype[Symbol.hasInstance].call(this as () => unknown, value);
    return typeof value === "object" && value !== null && brand in value;
  };
  Object.defineProperty(type.prototype, brand, { value: true });
  Object.defineProperty(type, Symbol.hasInstance, { value: hasInstance });
}

/** The record or field that an error is about. */
export interface StoreErrorSubject {
  readonly runtimeId?: RuntimeId | undefined;
  /** The record or the path of the request field, such as `input_updates[3].created_at`. */
  readonly record?: string | undefined;
  /** The value or limit that was expected. */
  readonly expected?: string | undefined;
  /** The value that was found instead. */
  readonly actual?: string | undefined;
  /** Whether the stored receipt equals the refused one. Present with the reason RECEIPT_EXISTS only (contract 4.2). */
  readonly identical?: boolean | undefined;
  /** The times that a request id may have. Present when the time of a request id was refused (contract 12.3). */
  readonly requestIdTimes?: RequestIdTimes | undefined;
  /** The error that caused this one. It does not travel over the wire. */
  readonly cause?: unknown;
}

/**
 * The error of every store method. Programs switch on `variant` (the seven variants of the reference, contract 11.1) or on
 * `reason` (the finer list of docs/errors.md), never on the message: its text may change.
 *
 * `instanceof` also accepts errors of another loaded copy of this package.
 */
export class StoreError extends Error {
  override readonly name: string = "StoreError";
  readonly variant: StoreErrorVariant;
  readonly reason: StoreErrorReason;
  /** Whether the failed call changed anything: "no", "yes", or "unknown". */
  readonly applied: Applied;
  /** Whether the call may be repeated, and how. */
  readonly retry: Retry;
  readonly subject: StoreErrorSubject;

  constructor(
    variant: StoreErrorVariant,
    reason: StoreErrorReason,
    /** The message without the prefix of the variant. It is the reference's text where the reference has one. */
    readonly text: string,
    subject: StoreErrorSubject = {},
  ) {
    super(STORE_ERROR_VARIANTS[variant] + text, subject.cause === undefined ? undefined : { cause: subject.cause });
    this.variant = variant;
    this.reason = reason;
    this.applied = STORE_ERROR_REASONS[reason].applied;
    this.retry = STORE_ERROR_REASONS[reason].retry;
    this.subject = subject;
  }

  static {
    shareIdentity(this, "StoreError");
  }
}

/**
 * The error of a mutation that was sent and whose response was lost, after a deadline, an abort, or a broken connection
 * and the last retry. The mutation may have been applied. Repeat the call with `requestId`, or call `getCommit` with it.
 */
export class OutcomeUnknownError extends StoreError {
  override readonly name = "OutcomeUnknownError";

  constructor(
    /** The UUIDv7 that the request carried. */
    readonly requestId: string,
    text: string,
    cause?: unknown,
  ) {
    super("WriteFailed", "OUTCOME_UNKNOWN", text, { cause });
  }

  static {
    shareIdentity(this, "OutcomeUnknownError");
  }
}

/** Returns the error of a mutation that was not applied or whose outcome is unknown, or of a stored record that a mutation does not accept. */
export const writeFailed = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject): StoreError =>
  new StoreError("WriteFailed", reason, text, subject);

/** Returns the error of a load, or of a stored record that cannot be read. */
export const readFailed = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject): StoreError =>
  new StoreError("ReadFailed", reason, text, subject);

/** Returns the error of a snapshot with the id `actual` under the session store key `expected` (contract 2.3). */
export const sessionKeyMismatch = (expected: string, actual: string, runtimeId?: RuntimeId): StoreError =>
  new StoreError("SessionKeyMismatch", "SESSION_KEY_MISMATCH", `expected ${expected}, actual ${actual}`, {
    runtimeId,
    record: "session_store_key",
    expected,
    actual,
  });

/** Returns the error of a rewrite of the revision `expected` while the revision `actual` is stored (contract 10.6). */
export const transcriptRevisionConflict = (expected: string, actual: string, runtimeId?: RuntimeId): StoreError =>
  new StoreError(
    "TranscriptRevisionConflict",
    "TRANSCRIPT_REVISION_CONFLICT",
    `expected ${expected}, actual ${actual}`,
    { runtimeId, expected, actual },
  );

/** Returns the error of a method that a store does not have. `method` is its name in the reference's spelling. */
export const unsupported = (method: string): StoreError => new StoreError("Unsupported", "UNSUPPORTED", method);

/** Returns the error of something that must be stored for a call, and is not. */
export const notFound = (text: string): StoreError => new StoreError("NotFound", "NOT_FOUND", text);

/** Returns the error of a fault of the program. It is unknown whether the call changed anything. */
export const internal = (text: string, cause?: unknown): StoreError =>
  new StoreError("Internal", "INTERNAL", text, { cause });
