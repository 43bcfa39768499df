import type { RequestIdTimes, StoreError, StoreErrorReason, Uuid } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { parseUuid } from "../validate.js";

/** A request id: a UUIDv7. Its time determines whether its outcome may have been deleted. */
export interface RequestId {
  readonly text: Uuid;
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
}

/** Returns the time of a UUIDv7 in milliseconds since the epoch. */
export const timeOfRequest = (requestId: Uuid): number =>
  Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);

/** The largest time of a UUIDv7. */
const MAX_TIME_MS = 2 ** 48 - 1;

/** Returns a UUID that sorts before every request id of this time, and after all those of earlier times. */
export function smallestRequestId(timeMs: number): Uuid {
  const time = Math.min(Math.max(0, Math.floor(timeMs)), MAX_TIME_MS)
    .toString(16)
    .padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}

/**
 * Throws INVALID_ARGUMENT unless the text is a UUIDv7. Its time is not checked here but in the writer, after the outcome of the
 * id was looked up: a repeated request gets its first response whatever the clocks show (contract 12.3).
 */
export function parseRequestId(text: string): RequestId {
  const uuid = parseUuid(text, "request_id", writeFailed);
  if (uuid[14] !== "7") {
    const found = `version ${uuid.charAt(14)}`;
    throw writeFailed("INVALID_ARGUMENT", `request_id: expected a UUID of version 7, found ${found}`, {
      record: "request_id",
      expected: "a UUID of version 7",
      actual: text,
    });
  }
  return { text: uuid, timeMs: timeOfRequest(uuid) };
}

/** Whether the outcome of this id may have been deleted. Then the id is never executed, now or later. */
export const isExpired = ({ timeMs }: RequestId, horizonMs: number): boolean => timeMs < horizonMs;

/**
 * Throws unless an id without an outcome may be executed: REQUEST_ID_EXPIRED below the horizon, because the request may have
 * been applied, and INVALID_ARGUMENT too far ahead, because its outcome would be kept for too long.
 */
export function refuseByTime(requestId: RequestId, times: RequestIdTimes): void {
  if (isExpired(requestId, times.horizonMs)) throw expired(requestId, times);
  refuseAhead(requestId, times);
}

/** Throws INVALID_ARGUMENT for an id without an outcome whose time is too far ahead. */
export function refuseAhead({ timeMs }: RequestId, times: RequestIdTimes): void {
  if (timeMs <= times.latestMs) return;
  const expected = `a time up to ${instant(times.latestMs)}`;
  const text = `request_id: expected ${expected}, found ${instant(timeMs)}; compare the clocks, or make a new id with that time`;
  throw refusedTime("INVALID_ARGUMENT", text, expected, timeMs, times);
}

function expired({ text, timeMs }: RequestId, times: RequestIdTimes): StoreError {
  const expected = `a time from ${instant(times.horizonMs)}`;
  const problem =
    `request id ${text} is older than the outcomes that are kept: expected ${expected}, found ${instant(timeMs)}; ` +
    "this call was not applied and never will be; make a new id with that time or a later one";
  return refusedTime("REQUEST_ID_EXPIRED", problem, expected, timeMs, times);
}

const refusedTime = (
  reason: StoreErrorReason,
  text: string,
  expected: string,
  timeMs: number,
  requestIdTimes: RequestIdTimes,
): StoreError => writeFailed(reason, text, { record: "request_id", expected, actual: instant(timeMs), requestIdTimes });

const instant = (ms: number): string => new Date(ms).toISOString();
