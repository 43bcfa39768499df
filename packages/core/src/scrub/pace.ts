import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { type Clock, SYSTEM_CLOCK } from "../clock.js";

/** The time that a scrub uses. */
export interface ScrubClock extends Clock {
  /** Resolves after the time, or earlier when the signal aborts. Does not reject. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SCRUB_CLOCK: ScrubClock = {
  ...SYSTEM_CLOCK,
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined),
};

/** The number of bytes after which the event loop runs. Values are decoded at some tens of megabytes a second. */
const YIELD_BYTES = 64 << 10;
/** The fewest bytes that one view of the store reads: a page. */
const VIEW_BYTES = 4096;
/** The shortest rest. Shorter ones are added up, because starting a timer costs more than they would save. */
const LEAST_REST_MS = 50;

/** Limits how much is read per second, and how long the event loop is blocked. */
export class Pace {
  /** The bytes that were read so far. */
  bytes = 0;
  /** The bytes that were read since the last rest. */
  private owedBytes = 0;
  private bytesSinceYield = 0;

  constructor(
    private readonly bytesPerSecond: number,
    private readonly clock: ScrubClock,
    private readonly signal: AbortSignal,
  ) {}

  /** Counts bytes that were read. Returns a promise when the event loop has to run. Throws when the scrub is stopped. */
  spend(bytes: number): Promise<void> | undefined {
    this.signal.throwIfAborted();
    this.bytes += bytes;
    this.owedBytes += bytes;
    this.bytesSinceYield += bytes;
    if (this.bytesSinceYield < YIELD_BYTES) return undefined;
    this.bytesSinceYield = 0;
    return setImmediate();
  }

  /** Rests as long as the rate requires. Called between two views, while no state of the store is held. Throws when the scrub is stopped. */
  async rest(): Promise<void> {
    this.owedBytes += VIEW_BYTES;
    const ms = (this.owedBytes / this.bytesPerSecond) * 1000;
    if (ms < LEAST_REST_MS) await setImmediate();
    else {
      this.owedBytes = 0;
      await this.clock.sleep(ms, this.signal);
    }
    this.signal.throwIfAborted();
  }
}
