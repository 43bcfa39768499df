import type { Random } from "../random.js";

/** What can happen to one direction of a connection, at a place that the seed decides. */
export const FAULTS = {
  /** Both ends lose the connection at once. */
  cut: 3,
  /** The client loses the connection; what it sent reaches the daemon a moment later. */
  lateDelivery: 3,
  /** Everything stands still for a moment, and then goes on. */
  delay: 4,
  /** What is sent from here on goes nowhere, until the connection is cut. */
  swallow: 2,
  /** This direction ends; the other one goes on, until the connection is cut. */
  halfClose: 2,
} as const;

export type Fault = keyof typeof FAULTS;

/** So many bytes pass at most before the next fault of a direction. */
const MOST_BYTES_BETWEEN = 40_000;
const LONGEST_DELAY_MS = 900;
/** Longer than a hasty caller waits, shorter than a patient one. */
const LONGEST_SILENCE_MS = 1500;

/** Decides where the next fault of one direction lies, and what it is. */
export class Misfortune {
  private bytesLeft: number;

  constructor(private readonly random: Random) {
    this.bytesLeft = random.below(MOST_BYTES_BETWEEN);
  }

  /** Within these bytes: where, and which; undefined when all of them pass. */
  within(bytes: number): { readonly at: number; readonly fault: Fault } | undefined {
    if (bytes < this.bytesLeft) {
      this.bytesLeft -= bytes;
      return undefined;
    }
    const at = this.bytesLeft;
    this.bytesLeft = this.random.below(MOST_BYTES_BETWEEN);
    return { at, fault: this.random.weighted(FAULTS) };
  }

  delayMs(): number {
    return this.random.below(LONGEST_DELAY_MS);
  }

  silenceMs(): number {
    return this.random.below(LONGEST_SILENCE_MS);
  }
}
