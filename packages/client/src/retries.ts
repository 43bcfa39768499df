import { status } from "@grpc/grpc-js";
import type { StoreErrorReason } from "@bolthole/contract";
import { OutcomeUnknownError, STORE_ERROR_REASONS, StoreError } from "@bolthole/contract";
import { pause } from "./abort-signals.js";

const FIRST_PAUSE_MS = 10;
/** The longest pause between two attempts, also between two attempts to connect. */
export const MAX_PAUSE_MS = 500;

/** Reasons that allow a retry but end the call: the caller ended it, or an operator has to free space first. */
const REPORTED_IMMEDIATELY: readonly StoreErrorReason[] = ["CANCELLED", "DISK_FULL", "QUOTA"];

/** Reasons of the daemon after which a request may have been applied. */
const MAY_BE_APPLIED: readonly StoreErrorReason[] = [
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "OUTCOME_UNKNOWN",
];

/** Statuses with which gRPC, a proxy or another server would refuse the same request again. */
const REFUSED_AGAIN: readonly status[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
];

/** The error of an attempt whose request was sent, and to which the store itself returned nothing that the client received. */
export class LostResponseError extends Error {
  override readonly name = "LostResponseError";

  constructor(
    readonly failure: StoreError,
    readonly code: status,
  ) {
    super(failure.message, { cause: failure });
  }
}

/** One call that may need several attempts. */
export interface RetriedCall<T> {
  /** The request id of a mutation, the same in every attempt. Undefined: the call changes nothing. */
  readonly requestId: string | undefined;
  /** The end of the call by `performance.now`, so that a correction of the wall clock neither ends nor prolongs it. */
  readonly endsAtMs: number;
  readonly signal: AbortSignal | undefined;
  /** Waits for a connection. Nothing has been sent when this rejects. */
  connect(): Promise<void>;
  /** Throws when the caller has ended the call, so that nothing more may be sent. */
  refuseEnded(): void;
  /** Sends the request once. Rejects with a `StoreError` of the store, or with a `LostResponseError`. */
  attempt(): Promise<T>;
}

/**
 * Makes attempts until one succeeds, the deadline has passed, the signal aborts, or a failure does not allow a retry.
 *
 * A failure allows a retry when its `retry` is `same_request`, and for a mutation also when the response was lost. This is
 * safe because every attempt has the same request id, and the daemon applies a request id once.
 *
 * Rejects with the last failure. But when the response of a mutation was lost, only a refusal that the store makes after
 * it looked for the outcome of the request id is final. Otherwise it rejects with an `OutcomeUnknownError`: a later attempt
 * that was postponed (`BUSY`) or refused for another cause (`UNAUTHENTICATED`, `REQUEST_ID_EXPIRED`) proves nothing about
 * the lost one.
 */
export async function callWithRetries<T>(call: RetriedCall<T>): Promise<T> {
  const { requestId, endsAtMs, signal } = call;
  let lost: StoreError | undefined;
  for (let longest = FIRST_PAUSE_MS; ; longest = Math.min(longest * 2, MAX_PAUSE_MS)) {
    let failure: StoreError;
    let mayRetry: boolean;
    let isSent = false;
    try {
      await call.connect();
      // The caller may have ended the call since `connect` looked, if only in the same turn of the event loop.
      call.refuseEnded();
      isSent = true;
      return await call.attempt();
    } catch (error) {
      const isLost = error instanceof LostResponseError;
      // An error of the caller's own source, or a fault of the program: it says nothing about the store.
      if (!isLost && !(error instanceof StoreError)) throw error;
      failure = isLost ? error.failure : error;
      mayRetry = failure.retry === "same_request" && !REPORTED_IMMEDIATELY.includes(failure.reason);
      if (isLost && requestId !== undefined)
        mayRetry = !REFUSED_AGAIN.includes(error.code) && failure.reason !== "CANCELLED";
      if (isLost || (isSent && MAY_BE_APPLIED.includes(failure.reason))) lost = failure;
    }
    // Random, so that the clients of a daemon do not all retry at the same moment.
    const wait = longest * (0.5 + Math.random() / 2);
    const isOver = signal?.aborted === true || performance.now() + wait >= endsAtMs;
    const isFinal = STORE_ERROR_REASONS[failure.reason].isAfterLookup;
    const end = lost && requestId !== undefined && !isFinal ? outcomeUnknownError(requestId, lost) : failure;
    if (isOver || !mayRetry) throw end;
    // An abort during the pause is handled by the next `connect`.
    await pause(wait, signal);
    // A pause may take longer than planned. Nothing is sent after the deadline.
    if (performance.now() >= endsAtMs) throw end;
  }
}

/** Returns the error of a mutation whose outcome is unknown. The daemon's own error of this kind says what to do already. */
function outcomeUnknownError(requestId: string, lost: StoreError): OutcomeUnknownError {
  const text =
    lost.reason === "OUTCOME_UNKNOWN"
      ? `request ${requestId}: ${lost.text}`
      : `expected a response to request ${requestId}, but it was lost (${lost.text}). The change may have been applied: ` +
        "repeat the call with this request id, or call getCommit with it";
  return new OutcomeUnknownError(requestId, text, lost);
}
