import { writeFailed } from "@bolthole/contract";

/** A call with one request and one response, one with a stream that may last, or one of the operator. */
export type CallKind = "short" | "long" | "administration";

/** The calls of the operator that are admitted above the limit. */
export const ADMINISTRATION_RESERVE = 64;

/** Counts the requests in flight, refuses those above the limits, and reports when none is left. */
export class Admission {
  requests = 0;
  private long = 0;
  private isClosing = false;
  private readonly waiting: (() => void)[] = [];
  /** Long calls that rest keep short ones out of at most so many places. */
  private readonly maxLong: number;

  constructor(private readonly maxRequests: number) {
    this.maxLong = Math.max(1, Math.floor((maxRequests * 3) / 4));
  }

  /**
   * Admits a request and returns the function that removes it. Throws a StoreError with BUSY above the limit of its kind, and with
   * SHUTTING_DOWN during a drain.
   */
  enter(kind: CallKind): () => void {
    if (this.isClosing) throw writeFailed("SHUTTING_DOWN", "the daemon is shutting down; retry when it runs again");
    const reserve = kind === "administration" ? ADMINISTRATION_RESERVE : 0;
    if (this.requests >= this.maxRequests + reserve) throw busy("requests", this.maxRequests + reserve, this.requests);
    const isLong = kind === "long";
    if (isLong && this.long >= this.maxLong) throw busy("uploads and loads", this.maxLong, this.long);
    this.requests += 1;
    if (isLong) this.long += 1;
    return () => {
      this.requests -= 1;
      if (isLong) this.long -= 1;
      if (this.requests === 0) for (const resolve of this.waiting.splice(0)) resolve();
    };
  }

  /** Admits no more requests. Resolves to true when none is in flight, or to false when `cutShort` aborts first. */
  drain(cutShort: AbortSignal): Promise<boolean> {
    this.isClosing = true;
    if (this.requests === 0) return Promise.resolve(true);
    // A signal that is aborted already has no further event.
    if (cutShort.aborted) return Promise.resolve(false);
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

const busy = (what: string, most: number, present: number): Error =>
  writeFailed("BUSY", `too many ${what} are in flight; retry after a pause`, {
    expected: `at most ${String(most)} ${what}`,
    actual: `${String(present + 1)} ${what}`,
  });
