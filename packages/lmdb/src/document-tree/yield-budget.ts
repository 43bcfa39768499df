import { setImmediate } from "node:timers/promises";

/** The work between two yields, in bytes that are copied or checksummed: about one millisecond. */
const YIELD_AFTER_BYTES = 1 << 20;

/** Lets the event loop run other work during a long operation. */
export class YieldBudget {
  private spent = 0;

  /** Counts work. Returns a promise only when it is time to yield, so that the usual call costs no await. */
  spend(bytes: number): Promise<void> | undefined {
    this.spent += bytes;
    if (this.spent < YIELD_AFTER_BYTES) return undefined;
    this.spent = 0;
    return setImmediate();
  }
}
