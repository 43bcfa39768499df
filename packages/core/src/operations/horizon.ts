import { type HorizonControl, type RequestIdTimes, writeFailed } from "@bolthole/contract";
import { STORE_MANIFEST_KEY, storeManifestOf } from "../commit/manifests.js";
import type { HorizonMove } from "../commit/pruning.js";
import { ReadSet } from "../commit/row.js";
import { WriteSet } from "../commit/write-set.js";
import type { StoreContext } from "../store-context.js";

/** Returns the times that a request id may have at present. Throws DAMAGED_RECORD when the store manifest cannot be read. */
export async function requestIdTimes(context: StoreContext): Promise<RequestIdTimes> {
  const row = await context.engine.view((view) => view.get(STORE_MANIFEST_KEY));
  return context.time.times(storeManifestOf(row));
}

/** The clock of a store beside the times that the store keeps, in milliseconds since the epoch. */
export interface ClockState {
  /** The wall clock. */
  readonly nowMs: number;
  readonly horizonMs: number;
  /** The latest time of any commit. 0 in a store without one. */
  readonly lastCommitMs: number;
}

/** Returns the clock beside the stored times. Throws DAMAGED_RECORD when the store manifest cannot be read. */
export async function clockState(context: StoreContext): Promise<ClockState> {
  const { horizonMs, clockMs } = storeManifestOf(await context.engine.view((view) => view.get(STORE_MANIFEST_KEY)));
  return { nowMs: context.time.nowMs(), horizonMs, lastCommitMs: clockMs };
}

export const horizonOperations = (
  context: StoreContext,
  onHorizonMoved: (move: HorizonMove) => void,
): HorizonControl => ({
  async setHorizon({ horizonMs }) {
    const reads = new ReadSet();
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    const fromMs = await context.engine.commit({
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence);
        const { latestMs } = context.time.times(writes.storeManifest);
        if (!Number.isSafeInteger(horizonMs) || horizonMs < 0 || horizonMs > latestMs)
          throw unusableHorizon(horizonMs, latestMs);
        // The operator vouches for the clock. Otherwise a reading of a clock that was a year ahead would count for a year.
        const change = { horizonMs, forgetsClock: true };
        return {
          writes: writes.close(context.time, change),
          result: writes.storeManifest.horizonMs,
          freesSpace: false,
        };
      },
    });
    onHorizonMoved({ fromMs, toMs: horizonMs, cause: "operator", aged: 0, displaced: 0, displacedSeals: 0 });
    return requestIdTimes(context);
  },
});

function unusableHorizon(horizonMs: number, latestMs: number): Error {
  const expected = `a time up to ${new Date(latestMs).toISOString()} (${String(latestMs)} milliseconds since the epoch)`;
  const actual = String(horizonMs);
  const text = `horizon_ms: expected ${expected}, found ${actual}; nothing was changed`;
  return writeFailed("INVALID_ARGUMENT", text, { record: "horizon_ms", expected, actual });
}
