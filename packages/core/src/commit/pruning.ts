import type { Clock } from "../clock.js";
import type { Engine, View, WriteBatch } from "../engine.js";
import { pagesOf } from "../engine.js";
import { CountedChecksums, commitOverDamage } from "./damaged-rows.js";
import { STORE_MANIFEST_KEY, type StoreManifest, storeManifestOf } from "./manifests.js";
import { smallestRequestId, timeOfRequest } from "./request-id.js";
import { type KeyOf, ReadSet } from "./row.js";
import type { StoreTime } from "./store-time.js";
import { WriteSet } from "./write-set.js";

/** The outcomes that a store keeps for retries. */
export interface OutcomeBounds {
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

/** The age below which an outcome is never deleted because of the number of outcomes: a retry within it finds its outcome. */
const LEAST_AGE_MS = 60_000;

/** The most outcomes that one commit deletes: few enough for an engine that has no space for other changes. */
const PRUNED_TOGETHER = 128;

/** Counting outcomes takes at most one part in this many of the time. */
const COUNTING_SHARE = 20;

/**
 * Deletes the oldest outcomes beyond the bounds, in small commits. Each commit moves the horizon: a request id below it is
 * refused, so that an id whose outcome was deleted can never be applied again.
 *
 * Only outcomes older than the store time are deleted and count for `maxCount`. Those of callers whose clock is ahead would
 * otherwise move the horizon above the ids that other callers make at present.
 */
export class OutcomePruner {
  /** The time of the monotonic clock until which outcomes that are ahead are not counted again. */
  private countsAtMs = -Infinity;

  constructor(
    private readonly engine: Engine,
    private readonly time: StoreTime,
    private readonly clock: Clock,
    private readonly bounds: OutcomeBounds,
  ) {}

  /** Deletes all outcomes beyond the bounds. Ends after the present commit when `signal` aborts. */
  async prune(signal?: AbortSignal): Promise<void> {
    let excess = await this.engine.view((view) => this.excessIn(view));
    while (!signal?.aborted) {
      const keys = await this.engine.view((view) => this.oldestBeyond(view, excess));
      if (keys.length === 0) return;
      await this.delete(keys);
      excess -= keys.length;
    }
  }

  /** Returns the number of outcomes beyond `maxCount`, without those that are not older than the store time. */
  private async excessIn(view: View): Promise<number> {
    const manifest = await manifestIn(view);
    const { maxCount } = this.bounds;
    const start = this.clock.monotonic();
    // Counting reads every outcome that is ahead. There are hardly any, unless a clock was wrong.
    if (manifest.outcome.rows <= maxCount || start < this.countsAtMs) return 0;
    const ahead = await countFrom(view, this.time.times(manifest).storeTimeMs);
    this.countsAtMs = start + COUNTING_SHARE * (this.clock.monotonic() - start);
    return manifest.outcome.rows - ahead - maxCount;
  }

  private async oldestBeyond(view: View, excess: number): Promise<KeyOf<"outcome">[]> {
    const { storeTimeMs } = this.time.times(await manifestIn(view));
    const oldest = await view.scan({ table: "outcome" }, PRUNED_TOGETHER);
    const beyond = oldest.filter(({ key }, index) => {
      const ageMs = storeTimeMs - timeOfRequest(key.requestId);
      return ageMs > this.bounds.maxAgeMs || (index < excess && ageMs > LEAST_AGE_MS);
    });
    return beyond.map(({ key }) => key);
  }

  private async delete(keys: readonly KeyOf<"outcome">[]): Promise<void> {
    const newest = Math.max(...keys.map(({ requestId }) => timeOfRequest(requestId)));
    const reads = new ReadSet();
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    const handles = keys.map((key) => reads.add(key));
    const counted = new CountedChecksums();
    const batch: WriteBatch<void> = {
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence, counted);
        for (const handle of handles) writes.delete(handle);
        const horizonMs = Math.max(writes.storeManifest.horizonMs, newest + 1);
        return { writes: writes.close(this.time, horizonMs), result: undefined, freesSpace: true };
      },
    };
    // Pruning must not end because of damage. When the counted checksum is unknown, the manifest keeps the difference that it has.
    await commitOverDamage(this.engine, counted, batch, ({ row }) => row.checksum);
  }
}

const manifestIn = async (view: View): Promise<StoreManifest> => storeManifestOf(await view.get(STORE_MANIFEST_KEY));

/** Returns the number of outcomes with this time or a later one. */
async function countFrom(view: View, timeMs: number): Promise<number> {
  const after = { table: "outcome", requestId: smallestRequestId(timeMs) } as const;
  let count = 0;
  for await (const page of pagesOf(view, { table: "outcome", after })) count += page.length;
  return count;
}
