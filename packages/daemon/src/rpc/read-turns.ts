/** The time that busy connections may be read in one iteration of the event loop, in milliseconds. */
export const SLICE_MS = 2;
/** The time that all connections may be read in one iteration, in milliseconds. */
export const LONGEST_MS = 20;
/** A connection is busy when it was read for longer than this and still has more, in milliseconds. */
const LITTLE_MS = 1;
/** The time for which it is busy then, in milliseconds. */
const BUSY_MS = 2_000;

/** The bytes of a part. The parts of a connection become smaller while they take long. */
export const LEAST_BYTES = 1024;
const FIRST_BYTES = 4 * 1024;
export const MOST_BYTES = 16 * 1024;
/** The time that a part should take, in milliseconds. */
const PART_MS = { least: 0.5, most: 1.5 } as const;

/** What a connection has after a part: nothing, more bytes, or bytes that HTTP/2 does not take now. */
export type AfterPart = "empty" | "more" | "paused";

/** Reads the next part of a connection, of at most so many bytes. */
export type ReadPart = (bytes: number) => AfterPart;

/** A connection that takes turns. */
export interface Reader {
  /** Notes that bytes have arrived. */
  ready(): void;
}

/** The state of a connection. */
interface Turn {
  readonly read: ReadPart;
  partBytes: number;
  /** The time that it was read since it had nothing. */
  spentMs: number;
  /** Infinity until all that it has sent was read once. */
  busyUntil: number;
  isWaiting: boolean;
}

/**
 * Lets connections take turns in being read. What has arrived of one connection can take Node long: it makes objects of all frames and
 * headers before anything can be refused or the connection be closed.
 *
 * Bytes are read in parts that take about a millisecond. The parts of one iteration of the event loop have a limit in time, and those that
 * are left wait for the next iteration. A connection that sends little comes first, before the busy and the new ones; these come in the
 * order in which they began to wait.
 */
export class ReadTurns {
  private readonly light = new Set<Turn>();
  private readonly busy = new Set<Turn>();
  private spentMs = 0;
  private hasReadBusy = false;
  private isReading = false;
  private isScheduled = false;

  constructor(private readonly now: () => number = () => performance.now()) {}

  join(read: ReadPart): Reader {
    const turn = { read, partBytes: FIRST_BYTES, spentMs: 0, busyUntil: Infinity, isWaiting: false };
    return {
      ready: () => {
        this.wait(turn);
        this.readNext();
      },
    };
  }

  private wait(turn: Turn): void {
    if (turn.isWaiting) return;
    turn.isWaiting = true;
    (turn.busyUntil > this.now() ? this.busy : this.light).add(turn);
  }

  private readNext(): void {
    if (this.isReading) return;
    const turn = this.next();
    if (turn) this.readPart(turn);
  }

  /** Returns the connection whose turn it is, if one waits and the iteration has time left. One busy connection is read in each iteration. */
  private next(): Turn | undefined {
    const [light] = this.light;
    if (light && this.spentMs < LONGEST_MS) {
      this.light.delete(light);
      return light;
    }
    const [busy] = this.busy;
    if (!busy || (this.hasReadBusy && this.spentMs >= SLICE_MS)) return undefined;
    this.busy.delete(busy);
    this.hasReadBusy = true;
    return busy;
  }

  private readPart(turn: Turn): void {
    this.isReading = true;
    turn.isWaiting = false;
    this.schedule();
    const startedAt = this.now();
    let after: AfterPart = "empty";
    try {
      after = turn.read(turn.partBytes);
    } finally {
      // After the events of the part, which Node emits in ticks.
      process.nextTick(() => {
        this.isReading = false;
        this.noteTime(turn, this.now() - startedAt, after);
        if (after === "more") this.wait(turn);
        this.readNext();
      });
    }
  }

  private noteTime(turn: Turn, ms: number, after: AfterPart): void {
    this.spentMs += ms;
    turn.spentMs += ms;
    if (after === "empty") {
      turn.spentMs = 0;
      if (turn.busyUntil === Infinity) turn.busyUntil = 0;
    } else if (turn.spentMs > LITTLE_MS) {
      turn.busyUntil = this.now() + BUSY_MS;
    }
    if (ms > PART_MS.most) turn.partBytes = Math.max(LEAST_BYTES, turn.partBytes / 2);
    else if (ms < PART_MS.least) turn.partBytes = Math.min(MOST_BYTES, turn.partBytes * 2);
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.spentMs = 0;
      this.hasReadBusy = false;
      this.readNext();
    });
  }
}
