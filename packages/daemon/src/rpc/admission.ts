import { writeFailed } from "@bolthole/contract";

export interface AdmissionBounds {
  readonly requests: number;
  readonly bytes: number;
}

/** Counts what is in flight, refuses what would be too much, and knows when nothing is left. */
export class Admission {
  requests = 0;
  bytes = 0;
  private isClosing = false;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly bounds: AdmissionBounds) {}

  /** Answers how to leave again. */
  enter(bytes: number): () => void {
    if (this.isClosing) throw writeFailed("SHUTTING_DOWN", "the daemon is shutting down; try again when it is back");
    if (this.requests >= this.bounds.requests || this.bytes + bytes > this.bounds.bytes) {
      throw writeFailed("BUSY", "too many requests are in flight; try again a little later", {
        expected: `at most ${String(this.bounds.requests)} requests and ${String(this.bounds.bytes)} bytes`,
        actual: `${String(this.requests + 1)} requests and ${String(this.bytes + bytes)} bytes`,
      });
    }
    this.requests += 1;
    this.bytes += bytes;
    return () => {
      this.requests -= 1;
      this.bytes -= bytes;
      if (this.requests === 0) for (const resolve of this.waiting.splice(0)) resolve();
    };
  }

  /** Lets nobody in any more; resolves when everybody has left (true), or when the waiting is given up (false). */
  drain(giveUp: AbortSignal): Promise<boolean> {
    this.isClosing = true;
    if (this.requests === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.waiting.push(() => {
        resolve(true);
      });
      giveUp.addEventListener("abort", () => {
        resolve(false);
      });
    });
  }
}
