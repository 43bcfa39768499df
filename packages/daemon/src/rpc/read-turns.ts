import type { Http2Session } from "node:http2";

/** The time that the frames of one poll of the event loop may take before the other connections wait, in milliseconds. */
const SLICE_MS = 5;
/** A connection whose frames took longer than that in one poll is a heavy one for this time, in milliseconds. */
const HEAVY_MS = 2_000;

/** A connection that was read in one of so many last polls waits until the others were read. */
const RESTING_POLLS = 8;

/** The functions of a libuv handle that begin and end its reads. The socket of an HTTP/2 session has no public ones. */
export interface ReadHandle {
  readonly writeQueueSize: number;
  readStart(): void;
  readStop(): void;
}

/** An open connection. */
interface Connection {
  readonly handle: ReadHandle;
  /** The last poll in which it was read, or NOT_READ. */
  poll: number;
  /** When its first frame in that poll arrived. */
  since: number;
  heavyUntil: number;
  isStopped: boolean;
}

const NOT_READ = -RESTING_POLLS;

/** What a poll reads after one that took too long. */
type Stage = "light" | "waiting" | "all";

/** The next stage after a poll that took too long: those with little and the others take turns. */
const AFTER_LONG: Readonly<Record<Stage, Stage>> = { all: "light", light: "waiting", waiting: "light" };
const AFTER_SHORT: Readonly<Record<Stage, Stage>> = { light: "waiting", waiting: "all", all: "all" };

/**
 * Lets connections take turns in being read. libuv reads up to 2 MiB of each ready connection in one poll of the event loop, and Node makes
 * objects of all frames in them, before anything can be refused or its connection be closed. Here the reads of all connections end when the
 * frames of a poll have taken a slice. The next polls read the connections that have sent little first: they wait for one piece of 64 KiB,
 * and not for all that others have sent.
 */
export class ReadTurns {
  private readonly connections = new Map<Http2Session, Connection>();
  private poll = 1;
  private pollStartedAt: number | undefined;
  private isTooLong = false;
  private stage: Stage = "all";
  private isScheduled = false;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Notes a new connection until it is closed. */
  opened(session: Http2Session, handle = handleOf(session)): void {
    if (!handle) return;
    const connection = { handle, poll: NOT_READ, since: 0, heavyUntil: 0, isStopped: false };
    this.connections.set(session, connection);
    session.once("close", () => this.connections.delete(session));
    if (this.stage !== "all") stop(connection);
  }

  /** Notes that a frame of a connection has arrived. */
  arrived(session: Http2Session): void {
    const connection = this.connections.get(session);
    if (!connection) return;
    const now = this.now();
    this.pollStartedAt ??= now;
    this.schedule();
    if (connection.poll !== this.poll) {
      connection.poll = this.poll;
      connection.since = now;
    } else if (now - connection.since > SLICE_MS) {
      connection.heavyUntil = now + HEAVY_MS;
    }
    if (this.isTooLong || now - this.pollStartedAt <= SLICE_MS) return;
    this.isTooLong = true;
    for (const other of this.connections.values()) stop(other);
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.endPoll();
    });
  }

  private endPoll(): void {
    const stage = this.isTooLong ? AFTER_LONG[this.stage] : AFTER_SHORT[this.stage];
    this.isTooLong = false;
    this.pollStartedAt = undefined;
    this.poll += 1;
    if (stage !== this.stage || stage !== "all") this.begin(stage);
  }

  private begin(stage: Stage): void {
    this.stage = stage;
    const now = this.now();
    const isLight = ({ poll, heavyUntil }: Connection): boolean => poll !== NOT_READ && heavyUntil < now;
    const due = [...this.connections.values()].filter((connection) => {
      if (!connection.isStopped) return false;
      if (stage === "all") return true;
      return stage === "light" ? isLight(connection) : connection.poll < this.poll - RESTING_POLLS;
    });
    // libuv reads them in this order, when they are ready.
    due.sort((a, b) => a.poll - b.poll);
    due.forEach(start);
    if (stage !== "all") this.schedule();
  }
}

function stop(connection: Connection): void {
  connection.isStopped = true;
  connection.handle.readStop();
}

function start(connection: Connection): void {
  if (!connection.isStopped) return;
  connection.isStopped = false;
  // Node reads no more while it writes, and begins again by itself.
  if (connection.handle.writeQueueSize === 0) connection.handle.readStart();
}

/** The handle is undefined with a version of Node that keeps it elsewhere, and tests fail then. */
function handleOf(session: Http2Session): ReadHandle | undefined {
  return (session.socket as unknown as { readonly _handle?: ReadHandle })._handle;
}
