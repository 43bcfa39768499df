import { setImmediate, setTimeout as sleep } from "node:timers/promises";

/** What time is to the scrub. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Ends early, and without an error, when the signal comes. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: Date.now,
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined),
};

/** The event loop's other work passes after so many bytes: forms are read at some tens of megabytes a second. */
const TURN_BYTES = 64 << 10;
/** The least that a look into the store reads: a page. */
const LOOK_BYTES = 4096;
/** Shorter rests are put together: to wake up costs more than what they would spread. */
const LEAST_REST_MS = 50;

/** Bounds how much is read in a second, and how long the event loop is held at a time. */
export class Pace {
  /** Of everything that was read. */
  bytes = 0;
  private owed = 0;
  private sinceTurn = 0;

  constructor(
    private readonly bytesPerSecond: number,
    private readonly clock: Clock,
    private readonly signal: AbortSignal,
  ) {}

  /** So many bytes were read; to be awaited when there is something to await. Throws when the work is to end. */
  spend(bytes: number): Promise<void> | undefined {
    this.signal.throwIfAborted();
    this.bytes += bytes;
    this.owed += bytes;
    this.sinceTurn += bytes;
    if (this.sinceTurn < TURN_BYTES) return undefined;
    this.sinceTurn = 0;
    return setImmediate();
  }

  /** After a look into the store, with nothing of it held any more. Throws likewise. */
  async rest(): Promise<void> {
    this.owed += LOOK_BYTES;
    const ms = (this.owed / this.bytesPerSecond) * 1000;
    if (ms < LEAST_REST_MS) await setImmediate();
    else {
      this.owed = 0;
      await this.clock.sleep(ms, this.signal);
    }
    this.signal.throwIfAborted();
  }
}
