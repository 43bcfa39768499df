import pino from "pino";
import { StoreError } from "@bolthole/contract";
import type { Config } from "./config.js";
import { LogOutput, writeToStandardError } from "./log-output.js";

/** A logger of JSON lines. */
export interface Log extends pino.Logger {
  /** The lines on their way to the standard error. */
  readonly output: LogOutput;
  /** Returns true for the first call with a key. Later calls, and those above a limit of keys, return false: their line is not new. */
  isNew(key: string): boolean;
}

/** A badly damaged store has too many findings for a log; GetStatus and `bolthole verify` report the rest. */
const MAX_KEYS = 1000;

/**
 * Returns a logger that writes JSON lines to standard error. Callers name each logged member. They never pass a request, response,
 * payload, token or OAuth bytes, so nothing has to be redacted. Runtime ids may be names that are secret: only lines at the level debug
 * have them.
 *
 * A line that cannot be written neither ends nor delays the process.
 */
export function createLog(level: Config["logLevel"]): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: "message",
    serializers: { err: errorFacts },
  };
  let noted = "";
  const notes = pino({ ...options, level: "warn" }, { write: (line) => (noted = line) });
  const note = (dropped: number): string => {
    notes.warn({ dropped }, "lines of the log were dropped here, because the standard error could not be written");
    return noted;
  };
  const output = new LogOutput(writeToStandardError, note);
  const keys = new Set<string>();
  const isNew = (key: string): boolean => {
    if (keys.has(key) || keys.size === MAX_KEYS) return false;
    keys.add(key);
    return true;
  };
  return Object.assign(pino(options, output), { output, isNew });
}

/** Returns the facts of an error, without the runtime that it is about: a StoreError has its id as a member, and some texts have it. */
function errorFacts(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error instanceof Error ? pino.stdSerializers.err(error) : error;
  const { name: type, message, stack, reason } = error;
  const { runtimeId, record, cause } = error.subject;
  const without = (text: string | undefined): string | undefined =>
    runtimeId ? text?.replaceAll(runtimeId, "(a runtime id)") : text;
  return {
    type,
    reason,
    record,
    message: without(message),
    stack: without(stack),
    ...(cause === undefined ? {} : { cause: errorFacts(cause) }),
  };
}
