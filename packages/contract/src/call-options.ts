import { isPlainObject, shown } from "@bolthole/json";
import type { CallOptions } from "./runtime-store.js";
import type { Fail } from "./argument-errors.js";
import type { Call } from "./versioned-store.js";

/** The longest time limit of a call in milliseconds: 24 days and 20 hours. Timers of Node.js and gRPC hold no longer time. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** What a time limit must be, for the texts of errors. */
export const EXPECTED_TIMEOUT = `a number of milliseconds from 1 to ${String(MAX_TIMEOUT_MS)}`;

/** Whether a value is a time limit of a call. */
export const isTimeout = (value: unknown): value is number =>
  typeof value === "number" && value >= 1 && value <= MAX_TIMEOUT_MS;

const OPTIONS: readonly string[] = ["timeoutMs", "signal", "requestId"] satisfies (keyof CallOptions)[];
const CALL_MEMBERS: readonly string[] = ["signal", "deadline"] satisfies (keyof Call)[];

/** Returns the limits of a call that begins now. Throws INVALID_ARGUMENT that names the option. */
export function callOf(options: CallOptions | undefined, fail: Fail): Call {
  if (options !== undefined) checkMembers("options", options, OPTIONS, fail);
  const { timeoutMs, signal, requestId } = options ?? {};
  if (timeoutMs !== undefined && !isTimeout(timeoutMs)) {
    throw wrong("options.timeoutMs", EXPECTED_TIMEOUT, timeoutMs, fail);
  }
  checkSignal("options.signal", signal, fail);
  const isText = typeof (requestId as unknown) === "string" && requestId?.isWellFormed() === true;
  if (requestId !== undefined && !isText) throw wrong("options.requestId", "a UUIDv7 (a string)", requestId, fail);
  return { signal, deadline: timeoutMs === undefined ? undefined : Date.now() + timeoutMs };
}

/** Throws INVALID_ARGUMENT that names the member of a call that has a wrong type. */
export function checkCall(call: Call | undefined, fail: Fail): void {
  if (call !== undefined) checkMembers("call", call, CALL_MEMBERS, fail);
  const { deadline, signal } = call ?? {};
  if (deadline !== undefined && (typeof deadline !== "number" || Number.isNaN(deadline))) {
    throw wrong("call.deadline", "a time in milliseconds since the epoch", deadline, fail);
  }
  checkSignal("call.signal", signal, fail);
}

/** Refuses what is no object, and a misspelled member, which would be ignored. */
export function checkMembers(name: string, value: unknown, members: readonly string[], fail: Fail): void {
  if (!isPlainObject(value)) throw wrong(name, "an object", value, fail);
  const unknown = Object.keys(value).find((member) => !members.includes(member));
  if (unknown !== undefined) throw wrong(name, `an object with the members ${members.join(", ")}`, unknown, fail);
}

// A signal of another realm or of a library is no instance of our AbortSignal.
function checkSignal(name: string, signal: unknown, fail: Fail): void {
  if (signal === undefined) return;
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted === "boolean" && typeof addEventListener === "function") return;
  throw wrong(name, "an AbortSignal", signal, fail);
}

function wrong(name: string, expected: string, value: unknown, fail: Fail): Error {
  const actual = shown(value);
  const text = `${name}: expected ${expected}, found ${actual}; nothing was sent`;
  return fail("INVALID_ARGUMENT", text, { record: name, expected, actual });
}
