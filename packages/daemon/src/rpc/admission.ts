import { writeFailed } from "@bolthole/contract";

export interface AdmissionLimits {
  readonly requests: number;
  /** The total size of the request messages. */
  readonly bytes: number;
}

/** Counts the requests in flight, refuses those above the limits, and reports when none is left. */
export class Admission {
  requests = 0;
  bytes = 0;
  private isClosing = false;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limits: AdmissionLimits) {}

  /**
   * Admits a request of this size and returns the function that removes it. Throws a StoreError with BUSY above
   * the limits, and with SHUTTING_DOWN during a drain.
   */
  enter(bytes: number): () => void {
    if (this.isClosing) throw writeFailed("SHUTTING_DOWN", "the daemon is shutting down; retry when it runs again");
    if (this.requests >= this.limits.requests || this.bytes + bytes > this.limits.bytes) {
      throw writeFailed("BUSY", "too many requests are in flight; retry after a pause", {
        expected: `at most ${String(this.limits.requests)} requests and ${String(this.limits.bytes)} bytes`,
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

  /** Admits no more requests. Resolves to true when none is in flight, or to false when `cutShort` aborts first. */
  drain(cutShort: AbortSignal): Promise<boolean> {
    this.isClosing = true;
    if (this.requests === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.waiting.push(() => {
        resolve(true);
      });
      cutShort.addEventListener("abort", () => {
        resolve(false);
      });
    });
  }
}
