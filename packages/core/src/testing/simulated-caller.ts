import type { RequestIdTimes } from "@bolthole/contract";
import type { SimulatedClock } from "./simulated-clock.js";

/** A caller that makes request ids with a clock of its own. */
export class SimulatedCaller {
  private horizonMs = 0;
  private lastMs = 0;

  constructor(
    readonly name: string,
    /** Whether it makes ids by the rule of docs/errors.md ("Times of request ids"). */
    readonly followsRule: boolean,
    readonly clock: SimulatedClock,
    /** Whether its ids never go back in time, as with many libraries. */
    private readonly isMonotonic = false,
  ) {}

  /** Returns the time of a new id. */
  timeOfId(): number {
    const time = Math.max(this.clock.now(), this.horizonMs, this.isMonotonic ? this.lastMs : 0);
    this.lastMs = time;
    return time;
  }

  /** Takes note of the times in a refusal. */
  learn({ horizonMs }: RequestIdTimes): void {
    this.horizonMs = horizonMs;
  }

  /** Returns the time of the id that replaces a refused one. */
  timeWithin({ horizonMs, storeTimeMs, latestMs }: RequestIdTimes): number {
    const now = this.clock.now();
    return now >= horizonMs && now <= latestMs ? now : storeTimeMs;
  }
}
