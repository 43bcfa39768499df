import type { Engine, RowKey } from "../engine.js";
import { updateDigest } from "./runtime-manifest.js";
import { makeRow } from "./row.js";
import { EMPTY_STORE_MANIFEST, decodeStoreManifest, encodeStoreManifest } from "./store-manifest.js";
import { decodeRow } from "../store-context.js";

export interface OutcomeBounds {
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

/** Small, so that an engine without room for others still has room for this. */
const BATCH = 128;

/** The instant in a UUIDv7, in milliseconds since the epoch. */
const timeOf = (requestId: string): number => Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);

/**
 * Forgets the oldest outcomes beyond the bounds, and moves the horizon behind which request ids are refused in the same
 * commit: an id whose outcome may be forgotten can never be applied again. Answers how many were forgotten.
 */
export async function pruneOutcomes(engine: Engine, bounds: OutcomeBounds, nowMs: number): Promise<number> {
  const tallyKey = { table: "storeManifest" } as const;
  const victims = await engine.view(async (view) => {
    const row = await view.get(tallyKey);
    const { outcome } = row ? decodeRow(tallyKey, row, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
    const excess = outcome.rows - bounds.maxCount;
    const oldest = await view.scan({ table: "outcome" }, BATCH);
    return oldest.filter(({ key }, index) => index < excess || timeOf(key.requestId) < nowMs - bounds.maxAgeMs);
  });
  const last = victims.at(-1);
  if (!last) return 0;
  const horizonMs = timeOf(last.key.requestId) + 1;
  const reads: RowKey[] = [tallyKey, ...victims.map(({ key }) => key)];
  await engine.commit({
    reads,
    bytes: 0,
    decide: ([tallyRow, ...rows], sequence) => {
      let tally = tallyRow ? decodeRow(tallyKey, tallyRow, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
      for (const row of rows) if (row) tally = { ...tally, outcome: updateDigest(tally.outcome, row, undefined) };
      tally = { ...tally, horizonMs: Math.max(tally.horizonMs, horizonMs) };
      return {
        writes: [
          { at: 0, row: makeRow(tallyKey, sequence, encodeStoreManifest(tally)) },
          ...victims.map((_victim, index) => ({ at: index + 1, row: undefined })),
        ],
        result: undefined,
        freesSpace: true,
      };
    },
  });
  return victims.length;
}
