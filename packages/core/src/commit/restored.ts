import type { Row } from "../engine.js";
import { decodeRow, makeRow } from "./row.js";
import { EMPTY_STORE_MANIFEST, decodeStoreManifest, encodeStoreManifest } from "./store-manifest.js";

/**
 * The store's tally after a restore, which drops every request outcome: a request of before it may have been applied, so
 * none that was made until now is ever executed.
 */
export function restoredStoreManifest(stored: Row | undefined, { keepsOauth, nowMs }: RestoreOptions): Row {
  const key = { table: "storeManifest" } as const;
  const before = stored ? decodeRow(key, stored, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
  const oauth = keepsOauth ? before.oauth : EMPTY_STORE_MANIFEST.oauth;
  const tally = {
    ...before,
    outcome: EMPTY_STORE_MANIFEST.outcome,
    oauth,
    horizonMs: Math.max(before.horizonMs, nowMs),
  };
  return makeRow(key, stored?.sequence ?? 0, encodeStoreManifest(tally));
}

export interface RestoreOptions {
  /** Otherwise the OAuth flows go, because those that were used since the backup would come back to life. */
  readonly keepsOauth: boolean;
  readonly nowMs: number;
}
