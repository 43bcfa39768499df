import { type SimulatedClock, requestIdAt } from "@bolthole/core/testing";
import type { Random } from "../random.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** The errors of the callers' clocks. */
const LEADS_MS = [
  -3 * DAY_MS,
  -2 * HOUR_MS,
  -10 * MINUTE_MS,
  -SECOND_MS,
  3 * MINUTE_MS,
  20 * MINUTE_MS,
  3 * HOUR_MS,
] as const;
const PAUSES_MS = [1, 20, SECOND_MS, 30 * SECOND_MS, 5 * MINUTE_MS, 50 * MINUTE_MS, 2 * HOUR_MS, 11 * HOUR_MS] as const;
const JUMPS_MS = [3 * SECOND_MS, 7 * MINUTE_MS, 50 * MINUTE_MS, 3 * HOUR_MS, 2 * DAY_MS, 365 * DAY_MS] as const;

/** Makes ids that a run with the same seed repeats. Most have the true time, which the clock of the stores may not have. */
export class SimulatedIds {
  private serial = 0;
  private leadMs = 0;
  private forced: string | undefined;

  constructor(
    private readonly random: Random,
    private readonly truth: SimulatedClock,
    /** The clock of all stores. */
    private readonly clock: SimulatedClock,
  ) {}

  /** Returns a new id, or the one that `force` was called with. */
  readonly next = (): string => {
    const { forced } = this;
    this.forced = undefined;
    this.serial += 1;
    return forced ?? requestIdAt(Math.max(0, this.truth.now() + this.leadMs), this.serial);
  };

  get trueTimeMs(): number {
    return this.truth.now();
  }

  /** Makes the next id an old one. */
  force(id: string): void {
    this.forced = id;
  }

  /** Chooses the clock of the next caller. */
  changeCaller(): void {
    this.leadMs = this.random.oneIn(12) ? this.random.pick(LEADS_MS) : 0;
  }

  /** Lets time pass, or lets the clock of the stores jump. A wrong clock is corrected more often than it becomes more wrong. */
  moveClock(): void {
    const { random, truth, clock } = this;
    if (random.below(3) > 0) {
      const ms = random.pick(PAUSES_MS);
      truth.pass(ms);
      clock.pass(ms);
      return;
    }
    const errorMs = clock.now() - truth.now();
    const jumpMs = errorMs !== 0 && random.below(4) > 0 ? -errorMs : random.pick(JUMPS_MS) * (random.oneIn(2) ? 1 : -1);
    clock.jump(jumpMs);
  }
}
