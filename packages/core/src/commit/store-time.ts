import type { RequestIdTimes } from "@bolthole/contract";
import type { Clock } from "../clock.js";

const MINUTE_MS = 60 * 1000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * How far the time of a request id may be ahead of the store's. Callers are on the same machine, so that their clocks hardly differ.
 * Outcomes of this time cannot be deleted yet, so it also limits how many of them one caller can make.
 */
export const MAX_LEAD_MS = 5 * MINUTE_MS;

/** The largest lead that any version accepted. A restore must not execute what an older version accepted after the backup. */
const LARGEST_LEAD_MS = HOUR_MS;

/**
 * How far a clock reading of the past may be ahead of the present one and still count, for the ids that living callers made by the same
 * clock. A clock that was further ahead was wrong: its reading is forgotten.
 */
const MAX_CORRECTION_MS = DAY_MS;

/** How long the clock must stay ahead before the store time follows it. */
const CONFIRMATION_MS = HOUR_MS;

/** The facts about time that a store keeps. Milliseconds since the Unix epoch. */
export interface StoredTimes {
  /** Request ids with an earlier time are refused. Every outcome of the others is kept. */
  readonly horizonMs: number;
  /** The latest store time or clock reading of any commit, unless it is forgotten. 0 in a store that has none. */
  readonly clockMs: number;
}

/** Returns the latest time that a new request id may have. `presentMs` is the later of the clock and the store time. */
export const latestTime = (clockMs: number, presentMs: number, leadMs = MAX_LEAD_MS): number =>
  Math.floor(laterReading(clockMs, presentMs) + leadMs);

/** Returns the later of a clock reading of the past and the present time, unless the reading was that of a wrong clock. */
export const laterReading = (clockMs: number, presentMs: number): number =>
  clockMs > presentMs + MAX_CORRECTION_MS ? presentMs : Math.max(clockMs, presentMs);

/** Returns the lowest horizon that is above every request id that a store can have accepted up to the present. */
export const horizonAbove = ({ horizonMs, clockMs }: StoredTimes, nowMs: number): number =>
  latestTime(clockMs, Math.max(nowMs, horizonMs), LARGEST_LEAD_MS) + 1;

/** The difference between the wall clock and the monotonic clock while it is larger than the trusted one. */
interface Lead {
  offsetMs: number;
  readonly sinceMs: number;
}

/** The store time while the clock is not above the horizon. */
interface BeyondHorizon {
  readonly horizonMs: number;
  readonly timeMs: number;
  readonly readAtMs: number;
}

/**
 * Derives the store time, which decides which outcomes may be deleted, from a clock that may jump.
 *
 * The store time is never ahead of the clock, except that it is never below the horizon. When the clock jumps back, so does the
 * store time. When the clock jumps ahead, the store time goes on at its rate, and follows when the clock has stayed ahead for an
 * hour: an outcome must not be deleted because the clock is wrong for some minutes. While the clock is not above the horizon,
 * callers make ids above the horizon; the store time then advances from the horizon at half speed, so that outcomes are
 * still deleted, and the clock catches up.
 *
 * Nothing that is promised about request ids depends on this class. They are safe under any clock, because they are compared with
 * the horizon alone. A wrong store time only shortens or prolongs the time for which outcomes are kept.
 */
export class StoreTime {
  private trustedOffsetMs: number | undefined;
  private lead: Lead | undefined;
  private beyond: BeyondHorizon | undefined;

  constructor(private readonly clock: Clock) {}

  /** Returns the times that a request id may have at present. */
  times(stored: StoredTimes): RequestIdTimes {
    const { now, storeTimeMs } = this.read(stored);
    const latestMs = latestTime(stored.clockMs, Math.max(now, storeTimeMs));
    return { horizonMs: stored.horizonMs, storeTimeMs, latestMs };
  }

  /** Returns the wall clock, which may be wrong. */
  nowMs(): number {
    return Math.floor(this.clock.now());
  }

  /** Returns the later of the clock and the store time, which a commit keeps as `StoredTimes.clockMs`. */
  presentMs(stored: StoredTimes): number {
    const { now, storeTimeMs } = this.read(stored);
    return Math.max(now, storeTimeMs);
  }

  private read({ horizonMs, clockMs }: StoredTimes): { readonly now: number; readonly storeTimeMs: number } {
    const now = this.nowMs();
    const monotonic = this.clock.monotonic();
    const trusted = Math.min(now, this.trustedTime(now, monotonic, clockMs));
    if (now <= horizonMs) return { now, storeTimeMs: Math.floor(this.timeBeyondHorizon(horizonMs, monotonic)) };
    this.beyond = undefined;
    return { now, storeTimeMs: Math.floor(Math.max(trusted, horizonMs)) };
  }

  /** Returns the time by the monotonic clock and its trusted offset, which decreases immediately and increases after an hour. */
  private trustedTime(now: number, monotonic: number, clockMs: number): number {
    const offsetMs = now - monotonic;
    // At a start, the clock is trusted as far as a commit of an earlier process confirms it.
    this.trustedOffsetMs ??= clockMs > 0 ? Math.min(offsetMs, clockMs - monotonic) : offsetMs;
    if (offsetMs <= this.trustedOffsetMs) {
      this.trustedOffsetMs = offsetMs;
      this.lead = undefined;
    } else if (!this.lead) {
      this.lead = { offsetMs, sinceMs: monotonic };
    } else {
      this.lead.offsetMs = Math.min(this.lead.offsetMs, offsetMs);
      if (monotonic - this.lead.sinceMs >= CONFIRMATION_MS) {
        this.trustedOffsetMs = this.lead.offsetMs;
        this.lead = undefined;
      }
    }
    return monotonic + this.trustedOffsetMs;
  }

  private timeBeyondHorizon(horizonMs: number, monotonic: number): number {
    const before = this.beyond;
    // An operator may have set a lower horizon.
    const isContinued = before !== undefined && before.horizonMs <= horizonMs;
    const timeMs = isContinued ? before.timeMs + (monotonic - before.readAtMs) / 2 : horizonMs;
    this.beyond = { horizonMs, timeMs: Math.max(horizonMs, timeMs), readAtMs: monotonic };
    return this.beyond.timeMs;
  }
}
