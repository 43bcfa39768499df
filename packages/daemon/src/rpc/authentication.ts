import { timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http2";
import { type StoreError, readFailed } from "@bolthole/contract";

const SCHEME = /^bearer +/i;

/** Returns the refusal of a call by its headers, or undefined for a call that is allowed. */
export type Authenticate = (headers: IncomingHttpHeaders) => StoreError | undefined;

/** Returns the function that refuses every call without the bearer token. */
export const requireToken =
  (token: string): Authenticate =>
  ({ authorization }) =>
    authorization !== undefined && isToken(token, authorization.replace(SCHEME, "")) ? undefined : unauthenticated();

const unauthenticated = (): StoreError =>
  readFailed(
    "UNAUTHENTICATED",
    "the bearer token is missing or wrong; send the content of the file `token` in the data folder of the daemon",
    {
      record: "authorization",
      expected: "Bearer and the content of the file token in the data folder",
    },
  );

/** Compares in constant time, so that the duration does not reveal where two tokens differ. */
function isToken(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
