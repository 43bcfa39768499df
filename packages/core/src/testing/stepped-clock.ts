import type { ScrubClock } from "../scrub/pace.js";

/** A clock that every sleep advances immediately, up to a limit. Sleeps beyond the limit wait until a test raises it. */
export class SteppedClock implements ScrubClock {
  slept = 0;
  private time = Date.UTC(2026, 0, 1);
  private limit = this.time;
  private wake: () => void = () => undefined;

  /** `beforeSleep` runs at the beginning of every sleep. */
  constructor(private readonly beforeSleep: () => Promise<void> = () => Promise.resolve()) {}

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.beforeSleep();
    const end = (): void => {
      this.wake();
    };
    signal.addEventListener("abort", end);
    while (this.time + ms > this.limit && !signal.aborted) await new Promise<void>((resolve) => (this.wake = resolve));
    signal.removeEventListener("abort", end);
    this.slept += ms;
    this.time += ms;
  }

  /** Raises the limit by `ms` milliseconds. */
  advance(ms: number): void {
    this.limit += ms;
    this.wake();
  }
}
