import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { closeWith } from "./refusals.js";

/** A connection without any accepted call is closed after this time, in milliseconds. */
export const UNUSED_MS = 10_000;

/** A connection of a listener. */
interface Connection {
  readonly session: Http2Session;
  readonly openedAt: number;
  /** When its last accepted call began or ended. Undefined before the first one. */
  usedAt: number | undefined;
  /** The number of open calls of the store's services, also of those that are not begun yet. */
  calls: number;
  /** The same of standard services, such as health watches. */
  standardCalls: number;
}

/**
 * The places of the connections of one listener. When none is free, a connection that needs its place least is closed for a new one: a new
 * client is not refused because of clients that only connect or watch the health. A connection with an open call of the store stays.
 */
export class ConnectionPlaces {
  private readonly connections = new Map<Http2Session, Connection>();

  constructor(
    readonly max: number,
    private readonly now: () => number = Date.now,
  ) {}

  get size(): number {
    return this.connections.size;
  }

  /** Notes a new connection until it is closed. */
  opened(session: Http2Session): void {
    const openedAt = this.now();
    this.connections.set(session, { session, openedAt, usedAt: undefined, calls: 0, standardCalls: 0 });
    session.once("close", () => this.connections.delete(session));
  }

  /** Notes a call that has arrived, until its stream is closed. */
  arrived(session: Http2Session, stream: ServerHttp2Stream, isStandard: boolean): void {
    const connection = this.connections.get(session);
    if (!connection) return;
    const count = isStandard ? "standardCalls" : "calls";
    connection[count] += 1;
    stream.once("close", () => {
      connection[count] -= 1;
      if (connection.usedAt !== undefined) connection.usedAt = this.now();
    });
  }

  /** Notes that a call of a connection was accepted. */
  used(session: Http2Session): void {
    const connection = this.connections.get(session);
    if (connection) connection.usedAt = this.now();
  }

  /** Returns whether there is a place for a new connection. Closes another one when all places are taken. */
  makeRoom(): boolean {
    if (this.connections.size < this.max) return true;
    let least: Connection | undefined;
    for (const connection of this.connections.values()) {
      if (connection.calls === 0 && (!least || needsLess(connection, least))) least = connection;
    }
    if (!least) return false;
    this.close(least);
    return true;
  }

  /** Closes the connections that were never used. A first call may still wait for its turn. */
  closeUnused(): void {
    const now = this.now();
    for (const connection of this.connections.values()) {
      const { usedAt, openedAt, calls, standardCalls } = connection;
      if (usedAt === undefined && calls + standardCalls === 0 && now - openedAt > UNUSED_MS) this.close(connection);
    }
  }

  private close({ session }: Connection): void {
    this.connections.delete(session);
    // With this frame, clients repeat elsewhere what the daemon has not begun.
    closeWith(session, constants.NGHTTP2_NO_ERROR);
  }
}

/** Whether a connection without calls of the store needs its place less than another one: unused, then idle, then with watches. */
const needsLess = (a: Connection, b: Connection): boolean =>
  rank(a) === rank(b) ? (a.usedAt ?? a.openedAt) < (b.usedAt ?? b.openedAt) : rank(a) < rank(b);

function rank({ usedAt, standardCalls }: Connection): number {
  if (usedAt === undefined) return 0;
  return standardCalls === 0 ? 1 : 2;
}
