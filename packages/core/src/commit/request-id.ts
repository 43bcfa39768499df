import type { Uuid } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { parseUuid } from "../validate.js";

/** A UUIDv7 and the instant in it. */
export interface RequestId {
  readonly text: Uuid;
  readonly timeMs: number;
}

/** How far ahead of this machine's clock a request id may have been made. */
const MAX_CLOCK_SKEW_MS = 60 * 60 * 1000;

/** Returns the time in a UUIDv7, in milliseconds since the epoch. */
export const timeOfRequest = (requestId: Uuid): number =>
  Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);

/** A request id must be a UUIDv7, because its own time says whether its outcome can still be kept. */
export function parseRequestId(text: string, nowMs: number): RequestId {
  const uuid = parseUuid(text, "request_id", writeFailed);
  const timeMs = timeOfRequest(uuid);
  if (uuid[14] !== "7") {
    throw writeFailed("INVALID_ARGUMENT", `request_id: expected a UUID of version 7, got version ${uuid.charAt(14)}`, {
      record: "request_id",
      expected: "a UUID of version 7",
      actual: text,
    });
  }
  if (timeMs > nowMs + MAX_CLOCK_SKEW_MS) {
    throw writeFailed("INVALID_ARGUMENT", "request_id: its time is more than one hour ahead of the store's clock", {
      record: "request_id",
      expected: `a time up to ${new Date(nowMs + MAX_CLOCK_SKEW_MS).toISOString()}`,
      actual: new Date(timeMs).toISOString(),
    });
  }
  return { text: uuid, timeMs };
}
