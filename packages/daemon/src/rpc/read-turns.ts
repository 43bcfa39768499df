import type { Http2Session } from "node:http2";
import type { Readable } from "node:stream";

/** The time that frames may take in one poll of the event loop before busy connections wait for the next one, in milliseconds. */
const SLICE_MS = 5;
/** The time that frames may take in one poll before all connections wait, in milliseconds. */
const LONGEST_MS = 20;
/** A connection is busy when its frames took longer than this in one poll, in milliseconds. */
const LITTLE_MS = 1;
/** The time for which a connection is busy after such a poll, in milliseconds. */
const BUSY_MS = 2_000;

/** The functions of a libuv handle that begin and end its reads. The socket of an HTTP/2 session has no public ones. */
export interface ReadHandle {
  readonly writeQueueSize: number;
  readStart(): void;
  readStop(): void;
}

/** An open connection. */
interface Connection {
  readonly handle: ReadHandle;
  /** The last poll in which it was read, or NEVER. */
  poll: number;
  /** When its first frame in that poll arrived. */
  since: number;
  /** Infinity before it was read. */
  busyUntil: number;
  isStopped: boolean;
}

const NEVER = 0;

/** How long a poll has taken, and so which connections wait for the next one: none, the busy ones, or all. */
type Length = "short" | "long" | "longest";

/**
 * Lets connections take turns in being read. libuv reads up to 2 MiB of each ready connection in one poll of the event loop, and Node makes
 * objects of all frames in them, before anything can be refused or its connection be closed.
 *
 * Here the reads of busy and new connections end when the frames of a poll have taken a slice. In the next polls those are read first that
 * were not read for the longest time. A connection that sends little is read in every poll: it waits for one piece of another connection,
 * which has 64 KiB, and not for all that the others have sent.
 */
export class ReadTurns {
  private readonly connections = new Map<Http2Session, Connection>();
  private poll = 1;
  private pollStartedAt: number | undefined;
  private length: Length = "short";
  private isScheduled = false;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Notes a new connection until it is closed. */
  connected(session: Http2Session, handle = handleOf(session)): void {
    if (!handle) return;
    const connection = { handle, poll: NEVER, since: 0, busyUntil: Infinity, isStopped: false };
    this.connections.set(session, connection);
    session.once("close", () => this.connections.delete(session));
  }

  /** Notes that a call of a connection has begun to arrive, and each of its parts later. */
  opened(session: Http2Session, stream: Readable): void {
    const connection = this.connections.get(session);
    if (!connection) return;
    this.arrived(connection);
    const push = stream.push.bind(stream);
    // Node calls it for each DATA frame, also while nothing reads the stream.
    stream.push = (...part) => {
      this.arrived(connection);
      return push(...part);
    };
  }

  private arrived(connection: Connection): void {
    // The later frames of a piece that is already too long cost little here.
    if (connection.isStopped && connection.poll === this.poll) return;
    const now = this.now();
    this.pollStartedAt ??= now;
    this.schedule();
    this.notePart(connection, now);
    const spent = now - this.pollStartedAt;
    const length = spent > LONGEST_MS ? "longest" : spent > SLICE_MS ? "long" : "short";
    if (length !== this.length) {
      this.length = length;
      for (const other of this.connections.values()) if (length === "longest" || other.busyUntil > now) stop(other);
    } else if (length === "long" && connection.busyUntil > now) {
      // It became busy by this frame.
      stop(connection);
    }
  }

  /** Notes the part of a connection in this poll. */
  private notePart(connection: Connection, now: number): void {
    if (connection.poll === this.poll) {
      if (now - connection.since > LITTLE_MS) connection.busyUntil = now + BUSY_MS;
      return;
    }
    if (connection.poll === NEVER) connection.busyUntil = 0;
    connection.poll = this.poll;
    connection.since = now;
    // Node has begun to read it again after a write.
    if (connection.isStopped) stop(connection);
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.endPoll();
    });
  }

  /**
   * Begins the reads of stopped connections again, first those that were not read for the longest time. A busy one that was read in this
   * poll rests in the next one when others wait, because the system would report it before them again. When one that sends little could not
   * be read in this poll, all busy ones rest.
   */
  private endPoll(): void {
    const { poll } = this;
    this.poll += 1;
    this.pollStartedAt = undefined;
    this.length = "short";
    const now = this.now();
    const stopped = [...this.connections.values()].filter(({ isStopped }) => isStopped);
    const wasRead = (connection: Connection): boolean => connection.poll === poll;
    const isBusy = (connection: Connection): boolean => connection.busyUntil > now;
    const waiting = stopped.filter((connection) => !wasRead(connection));
    const allRest = !waiting.every(isBusy);
    for (const connection of stopped.sort((a, b) => a.poll - b.poll)) {
      const rests = isBusy(connection) && (allRest || (waiting.length > 0 && wasRead(connection)));
      if (rests) this.schedule();
      else start(connection);
    }
  }
}

function stop(connection: Connection): void {
  connection.isStopped = true;
  connection.handle.readStop();
}

function start(connection: Connection): void {
  connection.isStopped = false;
  // Node reads no more while it writes, and begins again by itself.
  if (connection.handle.writeQueueSize === 0) connection.handle.readStart();
}

/** The handle is undefined with a version of Node that keeps it elsewhere, and tests fail then. */
function handleOf(session: Http2Session): ReadHandle | undefined {
  const { _handle: handle } = session.socket as unknown as { readonly _handle?: ReadHandle };
  return typeof handle?.writeQueueSize === "number" ? handle : undefined;
}
