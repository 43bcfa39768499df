import type { Clock } from "../clock.js";
import type { Engine, EntryOf, View, WriteBatch } from "../engine.js";
import { pagesOf } from "../engine.js";
import { CountedChecksums, commitOverDamage } from "./damaged-rows.js";
import { STORE_MANIFEST_KEY, type StoreManifest, storeManifestOf } from "./manifests.js";
import { isSealedOutcome } from "./outcome.js";
import { smallestRequestId, timeOfRequest } from "./request-id.js";
import { type KeyOf, ReadSet } from "./row.js";
import { type SealCount, separateViews } from "./seal-count.js";
import { MAX_LEAD_MS, type StoreTime } from "./store-time.js";
import { WriteSet } from "./write-set.js";

/** The outcomes that a store keeps for retries. */
export interface OutcomeBounds {
  /** The number of outcomes of applied requests. Sealed ids have places of their own: one for each `REQUESTS_PER_SEAL`. */
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

/** A change of the horizon, and the deletions that caused it. */
export interface HorizonMove {
  readonly fromMs: number;
  readonly toMs: number;
  readonly cause: "retention" | "operator";
  /** The number of outcomes that were deleted because of their age. */
  readonly aged: number;
  /** The number of outcomes of applied requests that were deleted because there were too many, before their age required it. */
  readonly displaced: number;
  /** The number of sealed ids that were deleted because there were too many, or because the horizon is above them anyway. */
  readonly displacedSeals: number;
}

/** The age below which an outcome is never deleted because of the number of outcomes: a retry within it finds its outcome. */
const LEAST_AGE_MS = 60_000;

/**
 * The same for a sealed id. It is as large as the lead that an id may have, because anybody can seal ids that were never used: the
 * horizon that follows from it must not come nearer to the ids of callers whose clocks are behind.
 */
const LEAST_AGE_OF_SEAL_MS = MAX_LEAD_MS;

/** One sealed id is kept for this many outcomes of requests. */
const REQUESTS_PER_SEAL = 10;

/** The most outcomes that one commit deletes: few enough for an engine that has no space for other changes. */
const PRUNED_TOGETHER = 128;

/** Reading outcomes that are not deleted takes at most one part in this many of the time. */
const READING_SHARE = 20;

/** The objects that a pruner works with. */
export interface PrunerContext {
  readonly engine: Engine;
  readonly time: StoreTime;
  readonly clock: Clock;
  readonly bounds: OutcomeBounds;
  readonly seals: SealCount;
  readonly onHorizonMoved: (move: HorizonMove) => void;
}

/** How many outcomes there are beyond their number. */
interface Excess {
  applied: number;
  sealed: number;
}

/** The reason for which an outcome is deleted. */
type Cause = "aged" | "displaced" | "displacedSeals";

interface Deletion {
  readonly key: KeyOf<"outcome">;
  readonly cause: Cause;
  readonly isSealed: boolean;
}

/**
 * Deletes the oldest outcomes beyond the bounds, in small commits. Each commit moves the horizon: a request id below it is
 * refused, so that an id whose outcome was deleted can never be applied again. So the horizon is just above the newest outcome
 * that was deleted, and never above the store time.
 *
 * Only outcomes older than the store time are deleted and counted. Those of callers whose clock is ahead would
 * otherwise move the horizon above the ids that other callers make at present. Sealed ids are counted separately: they may never
 * have been used, and must not displace the outcomes of requests.
 */
export class OutcomePruner {
  /** The time of the monotonic clock until which outcomes that may have to stay are not read again. */
  private readsAtMs = -Infinity;

  constructor(private readonly context: PrunerContext) {}

  /** Deletes all outcomes beyond the bounds. Ends after the present commit when `signal` aborts. */
  async prune(signal?: AbortSignal): Promise<void> {
    const { engine, clock, seals, onHorizonMoved } = this.context;
    const begunAtMs = clock.monotonic();
    const excess = await this.excess();
    const counts = { aged: 0, displaced: 0, displacedSeals: 0 };
    let fromMs: number | undefined;
    let toMs = 0;
    let readMs = clock.monotonic() - begunAtMs;
    for (let after: KeyOf<"outcome"> | undefined; !signal?.aborted;) {
      const readAtMs = clock.monotonic();
      const { deletions, next } = await engine.view((view) => this.deletionsIn(view, after, excess));
      readMs += clock.monotonic() - readAtMs;
      if (deletions.length > 0) {
        const moved = await this.delete(deletions);
        fromMs ??= moved.fromMs;
        toMs = moved.toMs;
        for (const { cause, isSealed } of deletions) {
          counts[cause] += 1;
          if (isSealed) seals.add(-1);
        }
      }
      if (!next) break;
      after = next;
    }
    // Sealed ids that are too many may be behind a great number of outcomes that stay.
    if (excess.applied > 0 || excess.sealed > 0) this.readsAtMs = begunAtMs + READING_SHARE * readMs;
    if (fromMs === undefined || fromMs === toMs) return;
    const { aged, displaced, displacedSeals } = counts;
    onHorizonMoved({ fromMs, toMs, cause: "retention", aged, displaced, displacedSeals });
  }

  /** Counts the outcomes beyond their number, without those that are not older than the store time. */
  private async excess(): Promise<Excess> {
    const { engine, clock, time, bounds, seals } = this.context;
    const none = { applied: 0, sealed: 0 };
    const { maxCount } = bounds;
    const maxSealed = Math.max(1, Math.floor(maxCount / REQUESTS_PER_SEAL));
    const row = await engine.view((view) => view.get(STORE_MANIFEST_KEY));
    const manifest = storeManifestOf(row);
    const { rows } = manifest.outcome;
    const start = clock.monotonic();
    if (rows <= maxSealed || start < this.readsAtMs) return none;
    const sealed = await seals.in(engine, row?.sequence ?? 0);
    if (rows - sealed <= maxCount && sealed <= maxSealed) return none;
    // Counting reads every outcome that is ahead. There are hardly any, unless a clock was wrong.
    const ahead = await countFrom(engine, time.times(manifest).storeTimeMs);
    this.readsAtMs = start + READING_SHARE * (clock.monotonic() - start);
    return {
      applied: rows - sealed - ahead.applied - maxCount,
      sealed: sealed - ahead.sealed - maxSealed,
    };
  }

  /**
   * Returns the outcomes to delete among those that follow the key `after`, and the key after which to continue; undefined when no
   * later outcome has to be deleted. Reduces the excess by the deletions.
   */
  private async deletionsIn(
    view: View,
    after: KeyOf<"outcome"> | undefined,
    excess: Excess,
  ): Promise<{ readonly deletions: readonly Deletion[]; readonly next: KeyOf<"outcome"> | undefined }> {
    const { time, bounds } = this.context;
    const manifest = await manifestIn(view);
    const { storeTimeMs, horizonMs } = time.times(manifest);
    const page = await view.scan({ table: "outcome", after }, PRUNED_TOGETHER);
    const deletions: Deletion[] = [];
    let youngestMs = Infinity;
    for (const entry of page) {
      const timeMs = timeOfRequest(entry.key.requestId);
      youngestMs = storeTimeMs - timeMs;
      const isSealed = isSealedOutcome(entry.row.value);
      const cause = causeOf({ ageMs: youngestMs, isSealed, isBelow: timeMs < horizonMs }, bounds, excess);
      if (!cause) continue;
      deletions.push({ key: entry.key, cause, isSealed });
      if (isSealed) excess.sealed -= 1;
      else excess.applied -= 1;
    }
    const hasExcess =
      (excess.applied > 0 && youngestMs > LEAST_AGE_MS) || (excess.sealed > 0 && youngestMs > LEAST_AGE_OF_SEAL_MS);
    const isLast = page.length < PRUNED_TOGETHER || (!hasExcess && youngestMs <= bounds.maxAgeMs);
    return { deletions, next: isLast ? undefined : page.at(-1)?.key };
  }

  /** Deletes outcomes, and returns the horizon before and after. */
  private async delete(deletions: readonly Deletion[]): Promise<{ readonly fromMs: number; readonly toMs: number }> {
    const newest = Math.max(...deletions.map(({ key }) => timeOfRequest(key.requestId)));
    const reads = new ReadSet();
    const manifests = { store: reads.add(STORE_MANIFEST_KEY) };
    const handles = deletions.map(({ key }) => reads.add(key));
    const counted = new CountedChecksums();
    const batch: WriteBatch<{ readonly fromMs: number; readonly toMs: number }> = {
      reads,
      bytes: 0,
      decide: (rows, sequence) => {
        const writes = new WriteSet(rows, manifests, sequence, counted);
        for (const handle of handles) writes.delete(handle);
        const fromMs = writes.storeManifest.horizonMs;
        const toMs = Math.max(fromMs, newest + 1);
        return {
          writes: writes.close(this.context.time, { horizonMs: toMs }),
          result: { fromMs, toMs },
          freesSpace: true,
        };
      },
    };
    // Pruning must not end because of damage. When the counted checksum is unknown, the manifest keeps the difference that it has.
    return commitOverDamage(this.context.engine, counted, batch, ({ row }) => row.checksum);
  }
}

/** Returns why an outcome is deleted, or undefined when it stays. */
function causeOf(
  { ageMs, isSealed, isBelow }: { readonly ageMs: number; readonly isSealed: boolean; readonly isBelow: boolean },
  { maxAgeMs }: OutcomeBounds,
  excess: Excess,
): Cause | undefined {
  if (ageMs > maxAgeMs) return "aged";
  // Below the horizon, an id is refused with its seal and without it.
  if (isSealed && isBelow) return ageMs > LEAST_AGE_MS ? "displacedSeals" : undefined;
  if (isSealed) return excess.sealed > 0 && ageMs > LEAST_AGE_OF_SEAL_MS ? "displacedSeals" : undefined;
  return excess.applied > 0 && ageMs > LEAST_AGE_MS ? "displaced" : undefined;
}

const manifestIn = async (view: View): Promise<StoreManifest> => storeManifestOf(await view.get(STORE_MANIFEST_KEY));

/** Counts the outcomes with this time or a later one. */
async function countFrom(engine: Engine, timeMs: number): Promise<Excess> {
  const after = { table: "outcome", requestId: smallestRequestId(timeMs) } as const;
  const found = { applied: 0, sealed: 0 };
  for await (const page of pagesOf(separateViews(engine), { table: "outcome", after })) {
    for (const { row } of page as readonly EntryOf<{ table: "outcome" }>[]) {
      if (isSealedOutcome(row.value)) found.sealed += 1;
      else found.applied += 1;
    }
  }
  return found;
}
