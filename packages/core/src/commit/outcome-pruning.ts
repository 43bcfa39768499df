import type { Engine } from "../engine.js";
import { ReadSet } from "./read-set.js";
import { timeOfRequest } from "./request-id.js";
import { decodeRow } from "./row.js";
import { EMPTY_STORE_MANIFEST, STORE_MANIFEST_KEY, decodeStoreManifest } from "./store-manifest.js";
import { WriteSet } from "./write-set.js";

export interface OutcomeBounds {
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

/** Small, so that an engine without room for others still has room for this. */
const BATCH = 128;

/**
 * Deletes the oldest outcomes beyond the bounds, and moves the horizon in the same commit: a request id before the horizon is
 * refused, so that an id whose outcome was deleted can never be applied again. Returns the number of deleted outcomes.
 */
export async function pruneOutcomes(engine: Engine, bounds: OutcomeBounds, nowMs: number): Promise<number> {
  const victims = await engine.view(async (view) => {
    const row = await view.get(STORE_MANIFEST_KEY);
    const { outcome } = row ? decodeRow(STORE_MANIFEST_KEY, row, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
    const excess = outcome.rows - bounds.maxCount;
    const oldest = await view.scan({ table: "outcome" }, BATCH);
    return oldest.filter(({ key }, index) => index < excess || timeOfRequest(key.requestId) < nowMs - bounds.maxAgeMs);
  });
  const last = victims.at(-1);
  if (!last) return 0;
  const horizonMs = timeOfRequest(last.key.requestId) + 1;
  const reads = new ReadSet();
  const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
  const handles = victims.map(({ key }) => reads.add(key));
  await engine.commit({
    reads,
    bytes: 0,
    decide: (rows, sequence) => {
      const writes = new WriteSet(rows, manifests, sequence);
      for (const handle of handles) writes.delete(handle);
      return { writes: writes.close(horizonMs), result: undefined, freesSpace: true };
    },
  });
  return victims.length;
}
