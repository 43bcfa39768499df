/** The most time that new calls may take in one iteration of the event loop, in milliseconds. */
const MOST_SLICE_MS = 8;
const FIRST_SLICE_MS = 1;
const LEAST_SLICE_MS = 0.5;
/** An iteration in which calls wait and that takes longer, with all other work, makes the slice shorter. */
const ITERATION_MS = 10;
/** The calls of a connection that begin at once: until a call has begun, its client may not send all of its request. */
const AT_ONCE = 4;
/** The time for which a connection is busy that had more calls than these in one iteration, in milliseconds. */
const BUSY_MS = 2_000;

/**
 * Lets connections take turns in beginning calls. What Node reads of a connection in one iteration of the event loop can
 * be the beginnings of 1,000 calls: without turns, one client holds the loop for as long as these take.
 */
export class Turns<Connection extends object> {
  private readonly waiting = new Map<Connection, (() => void)[]>();
  /** The number of calls that each connection has begun at once in this iteration of the event loop. */
  private readonly begun = new Map<Connection, number>();
  /** Until when a connection is busy. */
  private readonly busyUntil = new WeakMap<Connection, number>();
  private spentMs = 0;
  private sliceMs = FIRST_SLICE_MS;
  /** Since when calls wait for the end of this iteration of the event loop. Undefined while none did at its beginning. */
  private waitingSince: number | undefined;
  private isScheduled = false;

  /** The number of calls that wait for their turn. */
  get waitingCalls(): number {
    let count = 0;
    for (const calls of this.waiting.values()) count += calls.length;
    return count;
  }

  constructor(private readonly now: () => number = () => performance.now()) {}

  /**
   * Begins a call now, when it is the first one of its connection in this iteration of the event loop, or one of few. Another one, and each
   * one of a busy connection, begins at the turn of its connection: after all that has arrived in this iteration, or later when many wait.
   * A call that its client has reset by then costs little.
   */
  begin(connection: Connection, call: () => void): void {
    this.schedule();
    const begun = this.begun.get(connection) ?? 0;
    const hasSlice = begun === 0 || (begun < AT_ONCE && this.spentMs < this.sliceMs);
    if (hasSlice && !this.waiting.has(connection) && !this.isBusy(connection)) {
      this.begun.set(connection, begun + 1);
      this.perform(call);
      return;
    }
    const calls = this.waiting.get(connection);
    if (calls) calls.push(call);
    else this.waiting.set(connection, [call]);
    if (begun + (calls?.length ?? 1) > AT_ONCE) this.busyUntil.set(connection, this.now() + BUSY_MS);
  }

  private isBusy(connection: Connection): boolean {
    const until = this.busyUntil.get(connection);
    return until !== undefined && until > this.now();
  }

  private perform(call: () => void): void {
    const startedAt = this.now();
    try {
      call();
    } finally {
      this.spentMs += this.now() - startedAt;
    }
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.spentMs = 0;
      this.begun.clear();
      const now = this.now();
      this.adaptSlice(now);
      try {
        this.beginWaiting();
      } finally {
        this.waitingSince = this.waiting.size > 0 ? now : undefined;
        if (this.waiting.size > 0) this.schedule();
        else this.spentMs = 0;
      }
    });
  }

  /**
   * A call causes more work after it has begun: while iterations with waiting calls are long, fewer begin in each, and more again while they
   * are short. After a time without waiting calls it is not known how long theirs will be.
   */
  private adaptSlice(now: number): void {
    if (this.waitingSince === undefined) this.sliceMs = Math.min(this.sliceMs, FIRST_SLICE_MS);
    else if (now - this.waitingSince > ITERATION_MS) this.sliceMs = Math.max(LEAST_SLICE_MS, this.sliceMs / 2);
    else this.sliceMs = Math.min(MOST_SLICE_MS, this.sliceMs * 1.25);
  }

  private beginWaiting(): void {
    while (this.waiting.size > 0 && this.spentMs < this.sliceMs) {
      for (const [connection, calls] of [...this.waiting]) {
        const call = calls.shift();
        // The connection is behind the others now.
        this.waiting.delete(connection);
        if (calls.length > 0) this.waiting.set(connection, calls);
        if (call) this.perform(call);
        if (this.spentMs >= this.sliceMs) break;
      }
    }
  }
}
