import type { RawAnswer } from "./http2-client.js";

const NAMES = (
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED " +
  "FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split(" ");

/** The gRPC status by its name, or the HTTP status when there was none. */
export const nameOf = ({ status, httpStatus }: Pick<RawAnswer, "status" | "httpStatus">): string =>
  status === undefined ? `HTTP ${String(httpStatus)}` : (NAMES[status] ?? String(status));

const OK = 0;
const UNKNOWN = 2;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
export const INTERNAL = 13;
const UNAUTHENTICATED = 16;

/** Who answers a request, and so what it may answer. */
export type Reach =
  /** It is framed as gRPC asks and names one of our RPCs: our code answers. */
  | "ours"
  /** The same, for the health and reflection services, which libraries serve. */
  | "library"
  /** Its frame or its headers are broken: grpc-js answers before anybody sees it. */
  | "broken"
  /** It comes over TCP without a token. */
  | "stranger";

/** What grpc-js and the libraries on top of it say by themselves, beside statuses that any daemon gives. */
const LIBRARY_INTERNAL = [/^Error(%20| )deserializing(%20| )request/];

/** What is wrong with an answer, if anything is. */
export function problemOf(reach: Reach, answer: RawAnswer): string | undefined {
  const { status, text, hasDetails, httpStatus } = answer;
  const said = `${nameOf(answer)} ${text.slice(0, 200)}`;
  switch (reach) {
    case "ours":
      if (status === undefined) return `no status came (HTTP ${String(httpStatus)})`;
      if (status === INTERNAL || status === UNKNOWN) return `answered ${said}`;
      // Refusals of ours have details; grpc-js speaks for itself only about size.
      if (status !== OK && !hasDetails && status !== RESOURCE_EXHAUSTED) return `answered without details: ${said}`;
      return undefined;
    case "library":
      if (status === undefined) return `no status came (HTTP ${String(httpStatus)})`;
      if (status === UNKNOWN) return `answered ${said}`;
      if (status === INTERNAL && !LIBRARY_INTERNAL.some((form) => form.test(text))) return `answered ${said}`;
      return undefined;
    case "broken":
      return status === UNKNOWN || status === OK ? `a broken call was answered ${said}` : undefined;
    case "stranger":
      return status === UNAUTHENTICATED || status === UNIMPLEMENTED ? undefined : `a stranger was answered ${said}`;
  }
}
