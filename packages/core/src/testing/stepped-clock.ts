import type { Clock } from "../scrub/pace.js";

/** A clock that sleeps advance at once, but never beyond a limit: there they wait until it is moved on. */
export class SteppedClock implements Clock {
  slept = 0;
  private time = Date.UTC(2026, 0, 1);
  private limit = this.time;
  private wake: () => void = () => undefined;

  /** `beforeSleep` is what others do while somebody sleeps. */
  constructor(private readonly beforeSleep: () => Promise<void> = () => Promise.resolve()) {}

  now(): number {
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

  /** Lets so much time pass. */
  advance(ms: number): void {
    this.limit += ms;
    this.wake();
  }
}
