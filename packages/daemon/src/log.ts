import pino from "pino";
import type { Config } from "./config.js";

export type Log = pino.Logger;

/**
 * JSON lines on standard error. What is logged is named member by member; no request, answer, payload, token or OAuth byte
 * is ever handed to the logger, so there is nothing to redact.
 */
export const createLog = (level: Config["logLevel"]): Log =>
  pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: "message" },
    pino.destination({ fd: 2, sync: true }),
  );
