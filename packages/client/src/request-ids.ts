import { v7 as uuidv7 } from "uuid";
import type { RequestIdTimes } from "@bolthole/contract";

/** A client whose clock is further behind the store time than this uses the store time: its outcomes are kept longer then. */
const MAX_LAG_MS = 30_000;

/** The clocks of a client, in milliseconds. */
export interface ClientClock {
  /** The wall clock since the Unix epoch, which may jump. */
  now(): number;
  /** A clock that never jumps. */
  monotonic(): number;
}

const SYSTEM_CLOCK: ClientClock = { now: () => Date.now(), monotonic: () => performance.now() };

/** The store time as the client learned it, while the client's own clock differs too much from it. */
interface StoreTime {
  readonly timeMs: number;
  readonly learnedAtMs: number;
  /** The difference between the client's two clocks. It changes when the wall clock is corrected. */
  readonly clockOffsetMs: number;
}

/** A change of the difference between the clocks that means a correction of the wall clock. */
const CORRECTION_MS = 60_000;

/**
 * Makes the request ids of one connection: UUIDv7s with times that the store accepts (contract 12.3). The time is that of the
 * client's clock, but at least the horizon. When the store reported times that do not fit the client's clock, the time is the
 * store's, until the client's clock is corrected.
 */
export class RequestIds {
  private horizonMs = 0;
  private storeTime: StoreTime | undefined;

  constructor(private readonly clock: ClientClock = SYSTEM_CLOCK) {}

  /** Takes note of the times that the store reported, at the beginning or with a refusal. */
  learn({ horizonMs, storeTimeMs, latestMs }: RequestIdTimes): void {
    const now = this.clock.now();
    const monotonic = this.clock.monotonic();
    // An operator may have set a lower horizon. Ids at the old one may then be too far ahead.
    this.horizonMs = this.horizonMs > latestMs ? horizonMs : Math.max(this.horizonMs, horizonMs);
    const fits = now <= latestMs && now >= storeTimeMs - MAX_LAG_MS;
    this.storeTime = fits ? undefined : { timeMs: storeTimeMs, learnedAtMs: monotonic, clockOffsetMs: now - monotonic };
  }

  /** Returns a new request id. */
  next(): string {
    return uuidv7({ msecs: Math.max(Math.floor(this.presentMs()), this.horizonMs) });
  }

  private presentMs(): number {
    const now = this.clock.now();
    if (!this.storeTime) return now;
    const monotonic = this.clock.monotonic();
    const { timeMs, learnedAtMs, clockOffsetMs } = this.storeTime;
    const isCorrected = Math.abs(now - monotonic - clockOffsetMs) > CORRECTION_MS;
    return isCorrected ? now : timeMs + monotonic - learnedAtMs;
  }
}
