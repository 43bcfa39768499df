import { setImmediate } from "node:timers/promises";

/** The longest time of work between two yields. */
const YIELD_AFTER_MS = 4;

/** Lets the event loop run other work during a long operation that consists of many short steps. */
export class TimeBudget {
  private startedAt = performance.now();

  /** Call it after each step. Returns a promise only when it is time to yield, so that most steps cost no await. */
  spend(): Promise<void> | undefined {
    return performance.now() - this.startedAt < YIELD_AFTER_MS ? undefined : this.yield();
  }

  /** Lets the event loop run now. */
  async yield(): Promise<void> {
    await setImmediate();
    this.startedAt = performance.now();
  }
}
