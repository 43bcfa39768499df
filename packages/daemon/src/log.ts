import pino from "pino";
import type { Config } from "./config.js";

export type Log = pino.Logger;

/**
 * Returns a logger that writes JSON lines to standard error. Callers name each logged member. They never pass a request, response,
 * payload, token or OAuth bytes, so nothing has to be redacted.
 */
export const createLog = (level: Config["logLevel"]): Log =>
  pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "message" },
    pino.destination({ fd: 2, sync: true }),
  );
