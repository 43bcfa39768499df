import type { Clock } from "../clock.js";

/** A clock that a test moves. Time passes for both readings; a jump changes the wall clock alone. */
export class SimulatedClock implements Clock {
  private elapsed = 0;

  constructor(private wall: number = Date.UTC(2026, 0, 1)) {}

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.elapsed;
  }

  pass(ms: number): void {
    this.wall += ms;
    this.elapsed += ms;
  }

  jump(ms: number): void {
    this.wall += ms;
  }
}
