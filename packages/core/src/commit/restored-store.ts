import { NO_ROWS, STORE_MANIFEST_KEY, type TableDigest, encodeStoreManifest, storeManifestOf } from "./manifests.js";
import { smallestRequestId } from "./request-id.js";
import { type Row, makeRow } from "./row.js";
import { horizonAbove } from "./store-time.js";

/** The decisions about a restore. */
export interface RestoreOptions {
  /** Whether the OAuth flows are kept. Flows that were used since the backup would be valid again. */
  readonly keepsOauth: boolean;
  /** The wall clock in milliseconds since the epoch. */
  readonly nowMs: number;
  /** The horizon that an operator chose. `restoredHorizon` chooses one unless set. */
  readonly horizonMs?: number | undefined;
}

/** Thrown for a horizon that a restored store cannot have. The text says which ones it can have. */
export class UnusableHorizonError extends Error {
  override readonly name = "UnusableHorizonError";
}

/** The horizon of a restored store, and the first request id that is not before it. */
export interface RestoredHorizon {
  readonly horizonMs: number;
  readonly firstRequestId: string;
  /** The latest time of any commit in the backup. A present time before it is that of a clock that is behind, or was ahead then. */
  readonly lastCommitMs: number;
}

/**
 * Returns the horizon of a restored store. It is above every request id that the old store can have accepted up to the present:
 * such a request may have been applied, sealed or refused after the backup, which nothing in the backup shows, and must not be
 * executed. Throws an `UnusableHorizonError` when the operator chose one outside the allowed times.
 *
 * The outcomes of request ids at or above the horizon must be kept: their requests were applied or sealed before the backup,
 * under a clock that was ahead.
 */
export function restoredHorizon(stored: Row | undefined, { nowMs, horizonMs }: RestoreOptions): RestoredHorizon {
  const before = storeManifestOf(stored);
  const above = horizonAbove(before, nowMs);
  if (horizonMs !== undefined && (horizonMs < before.horizonMs || horizonMs > above)) {
    throw new UnusableHorizonError(
      `the horizon cannot be ${instant(horizonMs)}: expected a time from ${instant(before.horizonMs)}, the horizon of ` +
        `the backup, to ${instant(above)}`,
    );
  }
  const chosen = horizonMs ?? above;
  return { horizonMs: chosen, firstRequestId: smallestRequestId(chosen), lastCommitMs: before.clockMs };
}

const instant = (ms: number): string => new Date(ms).toISOString();

/** Returns the store manifest after a restore with this horizon. `kept` counts the outcomes that are kept. */
export function restoredStoreManifest(
  stored: Row | undefined,
  { keepsOauth, nowMs }: RestoreOptions,
  { horizonMs }: RestoredHorizon,
  kept: TableDigest,
): Row {
  const before = storeManifestOf(stored);
  const manifest = {
    ...before,
    outcome: kept,
    oauth: keepsOauth ? before.oauth : NO_ROWS,
    horizonMs,
    clockMs: Math.max(before.clockMs, nowMs, horizonMs),
  };
  return makeRow(STORE_MANIFEST_KEY, stored?.sequence ?? 0, encodeStoreManifest(manifest));
}
