import type { RequestIdTimes } from "@bolthole/contract";
import type { Clock } from "../clock.js";

const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

/** How far the time of a request id may be ahead of the store's. */
const MAX_LEAD_MS = HOUR_MS;

/** How far a clock reading of the past may be ahead of the present one and still count: a correction of the clock, and no error of years. */
const MAX_CORRECTION_MS = DAY_MS;

/** How long the clock must stay ahead before the store time follows it. */
const CONFIRMATION_MS = HOUR_MS;

/** The facts about time that a store keeps. Milliseconds since the Unix epoch. */
export interface StoredTimes {
  /** Request ids with an earlier time are refused. Every outcome of the others is kept. */
  readonly horizonMs: number;
  /** The latest store time or clock reading of any commit. 0 in a store that has none. */
  readonly clockMs: number;
}

/** Returns the latest time that a new request id may have. `presentMs` is the later of the clock and the store time. */
export const latestTime = (clockMs: number, presentMs: number): number =>
  Math.floor(Math.max(presentMs, Math.min(clockMs, presentMs + MAX_CORRECTION_MS)) + MAX_LEAD_MS);

/** Returns the lowest horizon that is above every request id that a store can have accepted up to the present. */
export const horizonAbove = ({ horizonMs, clockMs }: StoredTimes, nowMs: number): number =>
  latestTime(clockMs, Math.max(nowMs, horizonMs)) + 1;

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

  /** Returns the later of the clock and the store time, which a commit keeps as `StoredTimes.clockMs`. */
  presentMs(stored: StoredTimes): number {
    const { now, storeTimeMs } = this.read(stored);
    return Math.max(now, storeTimeMs);
  }

  private read({ horizonMs, clockMs }: StoredTimes): { readonly now: number; readonly storeTimeMs: number } {
    const now = Math.floor(this.clock.now());
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
