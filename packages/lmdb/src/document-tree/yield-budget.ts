import { setImmediate } from "node:timers/promises";

/** Work is counted in bytes that are copied or summed up: this many take about a millisecond. */
const TURN_BYTES = 1 << 20;

/** Lets the event loop's other work pass while something long goes on. */
export class YieldBudget {
  private spent = 0;

  /** To be awaited when there is something to await. */
  spend(bytes: number): Promise<void> | undefined {
    this.spent += bytes;
    if (this.spent < TURN_BYTES) return undefined;
    this.spent = 0;
    return setImmediate();
  }
}
