import type { ServiceError } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";
import type { StoreErrorReason } from "@bolthole/contract";
import { OutcomeUnknownError, StoreError } from "@bolthole/contract";
import { STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";

/** What a status without our detail means: it comes from the transport, or from a daemon of another make. */
const REASONS: Partial<Record<status, StoreErrorReason>> = {
  [status.INVALID_ARGUMENT]: "INVALID_ARGUMENT",
  [status.RESOURCE_EXHAUSTED]: "TOO_LARGE",
  [status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  [status.UNIMPLEMENTED]: "UNSUPPORTED",
  [status.UNAVAILABLE]: "UNAVAILABLE",
  [status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
  [status.CANCELLED]: "CANCELLED",
};

/** A failed attempt: the store's own error, or what the transport says. */
export function storeErrorOfCall(error: ServiceError, isMutation: boolean): StoreError {
  const [details] = error.metadata.get(STATUS_DETAILS_KEY);
  const carried = details instanceof Buffer ? fromWireStatus(details) : undefined;
  if (carried) return carried;
  const reason = REASONS[error.code] ?? "INTERNAL";
  if (reason === "UNSUPPORTED") return new StoreError("Unsupported", reason, error.details, { cause: error });
  if (reason === "INTERNAL") return new StoreError("Internal", reason, error.details, { cause: error });
  return new StoreError(isMutation ? "WriteFailed" : "ReadFailed", reason, error.details, { cause: error });
}

const LOST: readonly StoreErrorReason[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "OUTCOME_UNKNOWN"];

/** Whether a mutation that ended so may have been applied all the same, once it was sent. */
export const isLost = (error: StoreError): boolean => LOST.includes(error.reason);

export const outcomeUnknown = (requestId: string, last: StoreError): OutcomeUnknownError =>
  new OutcomeUnknownError(
    requestId,
    `the answer to request ${requestId} was lost (${last.text}); it may have been applied: ` +
      "repeat it with the same request id, or ask getCommit",
    last,
  );
