import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { StoreError, type StoreErrorReason, readFailed, writeFailed } from "@bolthole/contract";
import { STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";
import { LostResponseError } from "./retries.js";

/** The facts of a call that its errors name. */
export interface CallFacts {
  /** The path of the RPC: its service and its name. */
  readonly path: string;
  /** The address of the daemon. */
  readonly address: string;
  /** The signal with which the caller can end the call. */
  readonly signal: AbortSignal | undefined;
  readonly isMutation: boolean;
  /** Whether a part of the response has arrived. */
  readonly hasBegun?: true;
}

/** Returns the error of an attempt: the daemon's own error, or one that says that the daemon's response was lost. */
export function attemptError(error: unknown, call: CallFacts): Error {
  if (!isServiceError(error)) return error as Error;
  return carriedError(error) ?? new LostResponseError(storeErrorOfStatus(error, call), error.code);
}

/** Returns the error of a call that grpc-js ended, and an error of another origin as it is. */
export const storeErrorOfCall = (error: unknown, call: CallFacts): Error =>
  isServiceError(error) ? (carriedError(error) ?? storeErrorOfStatus(error, call)) : (error as Error);

/** Whether grpc-js made an error, and not our own code or that of a caller. */
const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && "metadata" in error && error.metadata instanceof Metadata && "code" in error;

/** Returns the daemon's own error when the status carries one. */
function carriedError({ metadata }: ServiceError): StoreError | undefined {
  const [details] = metadata.get(STATUS_DETAILS_KEY);
  return details instanceof Buffer ? fromWireStatus(details) : undefined;
}

/** The reasons for statuses without our error detail. gRPC itself, a proxy or another server sent them. */
const REASON_OF_STATUS: Partial<Record<status, StoreErrorReason>> = {
  [status.INVALID_ARGUMENT]: "INVALID_ARGUMENT",
  [status.RESOURCE_EXHAUSTED]: "TOO_LARGE",
  [status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  [status.UNIMPLEMENTED]: "UNSUPPORTED",
  [status.UNAVAILABLE]: "UNAVAILABLE",
  [status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
};

/** How grpc-js begins the text of a stream that was reset. Its status depends on the code of the reset, whose cause is unknown. */
const RESET_TEXT = "Received RST_STREAM";

/** The other texts of grpc-js for a connection that broke. A proxy or another server has texts of its own, which are shown. */
const BROKEN_TEXTS = /^(Connection dropped|No connection established|Call cancelled|Cancelled on client|Write error)/;

/** How grpc-js begins the text of a message that is too large, in a client and in a server. The numbers follow in brackets. */
const TOO_LARGE_TEXT = "Received message larger than max";

/** Returns the error of a status that carries none of ours. */
function storeErrorOfStatus(error: ServiceError, call: CallFacts): StoreError {
  const reason = reasonOf(error, call);
  const text = textOf(error, reason, call);
  if (reason === "UNSUPPORTED") return new StoreError("Unsupported", reason, text, { cause: error });
  if (reason === "INTERNAL") return new StoreError("Internal", reason, text, { cause: error });
  return (call.isMutation ? writeFailed : readFailed)(reason, text, { cause: error });
}

function reasonOf({ code, details }: ServiceError, { signal }: CallFacts): StoreErrorReason {
  // A daemon that stops also cancels the calls that it cuts off, and the caller has ended nothing then.
  if (code === status.CANCELLED) return signal?.aborted === true ? "CANCELLED" : "UNAVAILABLE";
  return details.startsWith(RESET_TEXT) ? "UNAVAILABLE" : (REASON_OF_STATUS[code] ?? "INTERNAL");
}

/** Returns what the call waited for. The texts of grpc-js name parts of that library, and addresses that are none of the caller's. */
function textOf({ details }: ServiceError, reason: StoreErrorReason, call: CallFacts): string {
  const { path, address, isMutation, hasBegun } = call;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const awaited = hasBegun ? `the rest of the response to ${name}` : `a response to ${name}`;
  const effect = isMutation ? "" : "; nothing was changed by this call";
  if (reason === "DEADLINE_EXCEEDED") {
    return `the call waited for ${awaited} from the daemon at ${address} until its deadline${effect}`;
  }
  if (reason === "CANCELLED") {
    return `the call was aborted while it waited for ${awaited} from the daemon at ${address}${effect}`;
  }
  if (reason === "UNAVAILABLE") {
    const isOfGrpc = details.startsWith(RESET_TEXT) || BROKEN_TEXTS.test(details);
    const found = isOfGrpc ? "" : ` (${details})`;
    return `the daemon at ${address}, or the connection to it, ended before ${awaited} arrived${found}${effect}`;
  }
  if (reason === "TOO_LARGE" && details.startsWith(TOO_LARGE_TEXT)) {
    return (
      `a message of ${name} is larger than its receiver accepts (${details.slice(TOO_LARGE_TEXT.length).trim()} bytes); for a ` +
      `response, raise the option maxMessageBytes; for a request, the daemon's --max-request-size${effect}`
    );
  }
  return details;
}
