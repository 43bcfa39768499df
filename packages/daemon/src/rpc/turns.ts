/** The most time that new calls may take in one iteration of the event loop, in milliseconds. */
const SLICE_MS = 8;
const LEAST_SLICE_MS = 0.5;
/** An iteration that takes longer, with all other work, makes the slice shorter. */
const ITERATION_MS = 15;
/** The calls of a connection that begin at once: until a call has begun, its client may not send all of its request. */
const AT_ONCE = 4;

/**
 * Lets connections take turns in beginning calls. Node reads up to 64 KiB of each connection in one iteration of the event loop, which can
 * be the beginnings of 1,000 calls: without turns, one client holds the loop for as long as these take.
 */
export class Turns<Connection> {
  private readonly waiting = new Map<Connection, (() => void)[]>();
  /** The number of calls that each connection has begun at once in this iteration of the event loop. */
  private readonly begun = new Map<Connection, number>();
  private spentMs = 0;
  private sliceMs = SLICE_MS;
  /** When calls last began after an iteration of the event loop and others waited still. */
  private iterationAt: number | undefined;
  private isScheduled = false;

  /** The number of calls that wait for their turn. */
  get waitingCalls(): number {
    let count = 0;
    for (const calls of this.waiting.values()) count += calls.length;
    return count;
  }

  constructor(private readonly now: () => number = () => performance.now()) {}

  /**
   * Begins a call now, when its connection has begun few in this iteration of the event loop. Another one begins at the turn of its
   * connection: after all that has arrived in this iteration, or later when many wait. A call that its client has reset by then costs little.
   */
  begin(connection: Connection, call: () => void): void {
    this.schedule();
    const begun = this.begun.get(connection) ?? 0;
    if (begun < AT_ONCE && this.spentMs < this.sliceMs && !this.waiting.has(connection)) {
      this.begun.set(connection, begun + 1);
      this.perform(call);
      return;
    }
    const calls = this.waiting.get(connection);
    if (calls) calls.push(call);
    else this.waiting.set(connection, [call]);
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
      this.adaptSlice();
      try {
        this.beginWaiting();
      } finally {
        if (this.waiting.size > 0) this.schedule();
      }
    });
  }

  /** A call causes more work after it has begun: while iterations are long, fewer begin in each. */
  private adaptSlice(): void {
    const now = this.now();
    const last = this.iterationAt;
    this.iterationAt = this.waiting.size > 0 ? now : undefined;
    if (last === undefined) return;
    if (now - last > ITERATION_MS) this.sliceMs = Math.max(LEAST_SLICE_MS, this.sliceMs / 2);
    else this.sliceMs = Math.min(SLICE_MS, this.sliceMs + LEAST_SLICE_MS);
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
