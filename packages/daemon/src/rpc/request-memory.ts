import type { ServerHttp2Stream } from "node:http2";
import type { readFailed } from "@bolthole/contract";
import { type ConnectionShare, SMALL_BYTES } from "./byte-budget.js";

/**
 * The memory of the request of one stream. It is given back when the stream is closed and no handler works on the request: a client that
 * resets its call does not free what the handler still has.
 */
export class RequestMemory {
  private isClosed = false;
  private handlers = 0;
  /** The memory of the decoded messages. */
  private decoded = 0;

  constructor(
    private readonly share: ConnectionShare,
    /** Gives back the memory of the messages that are not decoded. */
    private readonly closeReader: () => void,
  ) {}

  streamClosed(): void {
    this.isClosed = true;
    this.giveBackIfUnused();
  }

  /** Notes a handler. Returns the function that ends its work. */
  hold(): () => void {
    this.handlers += 1;
    return () => {
      this.handlers -= 1;
      this.giveBackIfUnused();
    };
  }

  /** Takes memory for objects of a decoded message. Throws the StoreError that `fail` returns when there is none. */
  takeDecoded(bytes: number, fail: typeof readFailed): void {
    const needed = this.decoded + bytes;
    const { total, connection } = this.share.limits;
    const most = Math.floor(connection / 2);
    if (needed > most) {
      const text = `request: its decoded fields need more than ${String(most)} bytes of memory; send fewer in one call, or raise the daemon's --max-requests-size`;
      throw fail("TOO_LARGE", text, {
        record: "request",
        expected: `at most ${String(most)} bytes`,
        actual: `${String(needed)} bytes`,
      });
    }
    if (!this.share.take(bytes, needed <= SMALL_BYTES)) {
      throw fail("BUSY", "the requests in flight hold too much memory; retry after a pause", {
        expected: `at most ${String(total)} bytes, and ${String(connection)} from one connection`,
        actual: `${String(bytes)} bytes more`,
      });
    }
    this.decoded = needed;
  }

  /** Gives back memory of a decoded message that the handler does not have any more. */
  giveBackDecoded(bytes: number): void {
    this.decoded -= bytes;
    this.share.giveBack(bytes);
  }

  private giveBackIfUnused(): void {
    if (!this.isClosed || this.handlers > 0) return;
    this.closeReader();
    this.giveBackDecoded(this.decoded);
  }
}

const memories = new WeakMap<ServerHttp2Stream, RequestMemory>();

/** Counts the memory of the request of a stream until the stream is closed and no handler holds the request. */
export function countRequest(stream: ServerHttp2Stream, share: ConnectionShare, closeReader: () => void): void {
  const memory = new RequestMemory(share, closeReader);
  memories.set(stream, memory);
  stream.once("close", () => {
    memory.streamClosed();
  });
}

/** Returns the memory of the request of a stream. Undefined for a stream that is not guarded. */
export const requestMemoryOf = (stream: ServerHttp2Stream | undefined): RequestMemory | undefined =>
  stream && memories.get(stream);
