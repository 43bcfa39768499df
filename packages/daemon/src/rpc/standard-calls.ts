import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { type StoreError, readFailed } from "@bolthole/contract";
import { noteRefusal, refuse } from "./refusals.js";

/** The most open calls of standard services on one listener: each health watch is one. */
export const MAX_STANDARD_CALLS = 512;
export const MAX_STANDARD_CALLS_OF_CONNECTION = 32;

const tooManyCalls = (expected: string): StoreError =>
  readFailed("BUSY", "too many calls of the health and reflection services are open; retry after a pause", {
    expected,
  });

/** The refusals. They are created once: their stacks cost more than the rest of a refused call. */
const TOO_MANY_CALLS = tooManyCalls(`at most ${String(MAX_STANDARD_CALLS)}`);
const TOO_MANY_OF_CONNECTION = tooManyCalls(`from one connection, at most ${String(MAX_STANDARD_CALLS_OF_CONNECTION)}`);

/**
 * The open calls of the standard services of gRPC. A connection may have few. Beyond the limit of all, the oldest one is ended, so that a
 * new health check is always answered.
 */
export class StandardCalls {
  private readonly streams = new Set<ServerHttp2Stream>();
  private readonly perConnection = new WeakMap<Http2Session, number>();

  /** Adds a call and returns true, or refuses it and returns false. */
  add(stream: ServerHttp2Stream, session: Http2Session): boolean {
    const count = this.perConnection.get(session) ?? 0;
    if (count >= MAX_STANDARD_CALLS_OF_CONNECTION) {
      noteRefusal(session);
      refuse(stream, TOO_MANY_OF_CONNECTION);
      return false;
    }
    const [oldest] = this.streams;
    if (oldest && this.streams.size >= MAX_STANDARD_CALLS) {
      this.streams.delete(oldest);
      refuse(oldest, TOO_MANY_CALLS);
    }
    this.streams.add(stream);
    this.perConnection.set(session, count + 1);
    stream.once("close", () => {
      this.streams.delete(stream);
      this.perConnection.set(session, (this.perConnection.get(session) ?? 1) - 1);
    });
    return true;
  }
}
