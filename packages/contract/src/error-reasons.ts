/** The error variants of the reference, each with the prefix of its messages (contract 11.1). */
export const STORE_ERROR_VARIANTS = {
  WriteFailed: "Store write failed: ",
  ReadFailed: "Store read failed: ",
  SessionKeyMismatch: "Session store key mismatch: ",
  NotFound: "Not found: ",
  Unsupported: "Unsupported store operation: ",
  TranscriptRevisionConflict: "Transcript revision conflict: ",
  Internal: "Internal error: ",
} as const;
export type StoreErrorVariant = keyof typeof STORE_ERROR_VARIANTS;

/** Whether a failed call changed anything. */
export type Applied = "no" | "yes" | "unknown";

/**
 * Whether and how a call may be repeated: "never", because it would be refused again; "same_request", with the same
 * request id; "after_reload", as a new request after the caller has loaded and decided again.
 */
export type Retry = "never" | "same_request" | "after_reload";

/** The gRPC statuses that the store uses, with their numbers in the gRPC specification. */
export const GRPC_STATUS = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type GrpcStatus = keyof typeof GRPC_STATUS;

/** The facts that all errors with one reason share. */
interface ReasonFacts {
  readonly status: GrpcStatus;
  readonly applied: Applied;
  readonly retry: Retry;
  /** The shortest pause before the same request is sent again, in milliseconds. Only for a condition of the daemon that passes. */
  readonly retryAfterMs?: number;
  /**
   * Whether the store refuses a mutation with this reason only after it looked for an outcome of the request id. Then the
   * refusal of a repeated request is final: no earlier attempt was applied. Any other refusal of a repeated request says
   * nothing about an earlier attempt whose response was lost.
   */
  readonly isAfterLookup: boolean;
}

const refused = (status: GrpcStatus, retry: Retry): ReasonFacts => ({
  status,
  applied: "no",
  retry,
  isAfterLookup: false,
});
const refusedAfterLookup = (status: GrpcStatus, retry: Retry): ReasonFacts => ({
  status,
  applied: "no",
  retry,
  isAfterLookup: true,
});

const refusedForNow = (status: GrpcStatus, retryAfterMs: number): ReasonFacts => ({
  ...refused(status, "same_request"),
  retryAfterMs,
});

/** All reasons why a call may fail, with their facts. docs/errors.md explains each of them. */
export const STORE_ERROR_REASONS = {
  // Wrong arguments.
  INVALID_ARGUMENT: refused("INVALID_ARGUMENT", "never"),
  TOO_LARGE: refused("INVALID_ARGUMENT", "never"),
  UNAUTHENTICATED: refused("UNAUTHENTICATED", "never"),
  // Rules of the contract.
  RECORD_REJECTED: refused("FAILED_PRECONDITION", "never"),
  UNSUPPORTED_RECORD_VERSION: refused("FAILED_PRECONDITION", "never"),
  RECEIPT_EXISTS: refusedAfterLookup("FAILED_PRECONDITION", "never"),
  SESSION_KEY_MISMATCH: refusedAfterLookup("FAILED_PRECONDITION", "never"),
  TRANSCRIPT_REJECTED: refusedAfterLookup("FAILED_PRECONDITION", "after_reload"),
  TRANSCRIPT_REVISION_CONFLICT: refusedAfterLookup("ABORTED", "after_reload"),
  PROFILE_MISMATCH: refusedAfterLookup("FAILED_PRECONDITION", "never"),
  // Expectations of the caller.
  VERSION_CONFLICT: refusedAfterLookup("ABORTED", "after_reload"),
  FENCE_CONFLICT: refusedAfterLookup("ABORTED", "after_reload"),
  BASE_NOT_CURRENT: refusedAfterLookup("ABORTED", "after_reload"),
  INPUT_NOT_CURRENT: refusedAfterLookup("ABORTED", "after_reload"),
  UPLOAD_UNKNOWN: refused("FAILED_PRECONDITION", "never"),
  STORE_REPLACED: refused("FAILED_PRECONDITION", "never"),
  // Request ids.
  REQUEST_ID_REUSED: refusedAfterLookup("FAILED_PRECONDITION", "never"),
  REQUEST_ID_EXPIRED: refused("FAILED_PRECONDITION", "never"),
  REQUEST_ID_SEALED: refusedAfterLookup("FAILED_PRECONDITION", "never"),
  // The condition of the daemon.
  BUSY: refusedForNow("RESOURCE_EXHAUSTED", 100),
  DISK_FULL: refusedForNow("RESOURCE_EXHAUSTED", 2_000),
  QUOTA: refusedForNow("RESOURCE_EXHAUSTED", 2_000),
  SHUTTING_DOWN: refusedForNow("UNAVAILABLE", 500),
  OUTCOME_UNKNOWN: { status: "UNAVAILABLE", applied: "unknown", retry: "same_request", isAfterLookup: false },
  DAMAGED_RECORD: refused("DATA_LOSS", "never"),
  // Errors that a client detects without a response of the daemon.
  UNAVAILABLE: refused("UNAVAILABLE", "same_request"),
  DEADLINE_EXCEEDED: refused("DEADLINE_EXCEEDED", "same_request"),
  CANCELLED: refused("CANCELLED", "same_request"),
  CLOSED: refused("FAILED_PRECONDITION", "never"),
  // The other variants of the reference.
  NOT_FOUND: refused("NOT_FOUND", "never"),
  UNSUPPORTED: refused("UNIMPLEMENTED", "never"),
  INTERNAL: { status: "INTERNAL", applied: "unknown", retry: "never", isAfterLookup: false },
} as const satisfies Record<string, ReasonFacts>;
export type StoreErrorReason = keyof typeof STORE_ERROR_REASONS;
