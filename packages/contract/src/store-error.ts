import type { RuntimeId } from "@bolthole/json/model";
import type { Applied, Retry, StoreErrorReason, StoreErrorVariant } from "./error-reasons.js";
import { STORE_ERROR_REASONS, STORE_ERROR_VARIANTS } from "./error-reasons.js";

/** What a refusal is about, beyond its text. */
export interface StoreErrorSubject {
  readonly runtimeId?: RuntimeId | undefined;
  /** The record or request field, such as `input_updates[3].created_at`. */
  readonly record?: string | undefined;
  /** What was expected or allowed, and what was found instead. */
  readonly expected?: string | undefined;
  readonly actual?: string | undefined;
  /** Only of a taken receipt key: whether the stored receipt equals the refused one (section 14.1). */
  readonly identical?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * The one error of every store. Switch on `variant` (the reference's seven) or `reason` (ours, finer), never on the
 * message, which is the reference's text where the reference has one.
 */
export class StoreError extends Error {
  override readonly name: string = "StoreError";
  readonly variant: StoreErrorVariant;
  readonly reason: StoreErrorReason;
  /** Whether the failed call changed anything. */
  readonly applied: Applied;
  readonly retry: Retry;
  readonly subject: StoreErrorSubject;

  constructor(
    variant: StoreErrorVariant,
    reason: StoreErrorReason,
    /** Without the variant's prefix. */
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
}

/**
 * A mutation was sent and its answer was lost: deadline, abort, or a broken connection after the last retry. Ask
 * `getCommit` with the request id, or repeat the call with it.
 */
export class OutcomeUnknownError extends StoreError {
  override readonly name = "OutcomeUnknownError";

  constructor(
    readonly requestId: string,
    text: string,
    cause?: unknown,
  ) {
    super("Internal", "OUTCOME_UNKNOWN", text, { cause });
  }
}

export const writeFailed = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject): StoreError =>
  new StoreError("WriteFailed", reason, text, subject);

export const readFailed = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject): StoreError =>
  new StoreError("ReadFailed", reason, text, subject);

/** `expected` is the key that the caller gave, `actual` the id in the snapshot. */
export const sessionKeyMismatch = (expected: string, actual: string, runtimeId?: RuntimeId): StoreError =>
  new StoreError("SessionKeyMismatch", "SESSION_KEY_MISMATCH", `expected ${expected}, actual ${actual}`, {
    runtimeId,
    record: "session_store_key",
    expected,
    actual,
  });

/** `expected` is the parent that the rewrite names, `actual` the revision that is stored. */
export const transcriptRevisionConflict = (expected: string, actual: string, runtimeId?: RuntimeId): StoreError =>
  new StoreError(
    "TranscriptRevisionConflict",
    "TRANSCRIPT_REVISION_CONFLICT",
    `expected ${expected}, actual ${actual}`,
    { runtimeId, expected, actual },
  );

export const unsupported = (method: string): StoreError => new StoreError("Unsupported", "UNSUPPORTED", method);

export const notFound = (text: string): StoreError => new StoreError("NotFound", "NOT_FOUND", text);

export const internal = (text: string, cause?: unknown): StoreError =>
  new StoreError("Internal", "INTERNAL", text, { cause });
