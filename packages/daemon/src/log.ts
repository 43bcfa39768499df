import pino from "pino";
import type { Config } from "./config.js";

export type Log = pino.Logger;

/** The most bytes of lines that wait because they cannot be written. Further lines are dropped. */
const MAX_WAITING_BYTES = 1 << 20;

/**
 * Returns a logger that writes JSON lines to standard error. Callers name each logged member. They never pass a request, response,
 * payload, token or OAuth bytes, so nothing has to be redacted.
 *
 * A line that cannot be written, as on a full disk, is tried again with the next one, and never ends the process.
 */
export function createLog(level: Config["logLevel"]): Log {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: MAX_WAITING_BYTES });
  destination.on("error", () => undefined);
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "message" }, destination);
}
