import { type HorizonControl, type RequestIdTimes, writeFailed } from "@bolthole/contract";
import { STORE_MANIFEST_KEY, storeManifestOf } from "../commit/manifests.js";
import { ReadSet } from "../commit/row.js";
import { WriteSet } from "../commit/write-set.js";
import type { StoreContext } from "../store-context.js";

/** Returns the times that a request id may have at present. Throws DAMAGED_RECORD when the store manifest cannot be read. */
export async function requestIdTimes(context: StoreContext): Promise<RequestIdTimes> {
  const row = await context.engine.view((view) => view.get(STORE_MANIFEST_KEY));
  return context.time.times(storeManifestOf(row));
}

export const horizonOperations = (context: StoreContext): HorizonControl => ({
  async setHorizon({ horizonMs }) {
    const reads = new ReadSet();
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    await context.engine.commit({
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence);
        const { latestMs } = context.time.times(writes.storeManifest);
        if (!Number.isSafeInteger(horizonMs) || horizonMs < 0 || horizonMs > latestMs)
          throw unusableHorizon(horizonMs, latestMs);
        return { writes: writes.close(context.time, horizonMs), result: undefined, freesSpace: false };
      },
    });
    return requestIdTimes(context);
  },
});

function unusableHorizon(horizonMs: number, latestMs: number): Error {
  const expected = `a time up to ${new Date(latestMs).toISOString()}`;
  const actual = String(horizonMs);
  const text = `horizon_ms: expected ${expected} in milliseconds since the epoch, found ${actual}; nothing was changed`;
  return writeFailed("INVALID_ARGUMENT", text, { record: "horizon_ms", expected, actual });
}
