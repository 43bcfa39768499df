import type { Row } from "../engine.js";
import { makeRow, soundValue } from "./row.js";
import { EMPTY_TALLY, decodeTally, encodeTally } from "./tally.js";

/**
 * The store's tally after a restore, which drops every request outcome: a request of before it may have been applied, so
 * none that was made until now is ever executed.
 */
export function restoredTally(stored: Row | undefined, { keepsOauth, nowMs }: RestoreTerms): Row {
  const key = { table: "tally" } as const;
  const before = stored ? decodeTally(soundValue(key, stored)) : EMPTY_TALLY;
  const oauth = keepsOauth ? before.oauth : EMPTY_TALLY.oauth;
  const tally = { ...before, outcome: EMPTY_TALLY.outcome, oauth, horizonMs: Math.max(before.horizonMs, nowMs) };
  return makeRow(key, stored?.sequence ?? 0, encodeTally(tally));
}

export interface RestoreTerms {
  /** Otherwise the OAuth flows go, because those that were used since the backup would come back to life. */
  readonly keepsOauth: boolean;
  readonly nowMs: number;
}
