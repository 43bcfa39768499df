import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { type AfterPart, MOST_BYTES, type ReadTurns, type Reader } from "./read-turns.js";

/** The options of a server whose sockets are paced. A socket that waits for its turn buffers this, and one piece of 64 KiB. */
export const PACED_SOCKETS = { noDelay: true, highWaterMark: MOST_BYTES } as const;

/** So many bytes of several frames are written as one buffer, which costs the system less than a list of buffers. */
const COPIED_BYTES = 64 * 1024;

/**
 * A socket that is read when it is its turn. HTTP/2 works on the bytes of this stream while they are pushed, so that the time of the work
 * is known. It would read a socket itself: up to 2 MiB in one poll of the event loop. The receiver must listen to "data".
 */
export class PacedSocket extends Duplex {
  private readonly reader: Reader;
  private isRead = false;
  private hasEnded = false;

  constructor(
    private readonly socket: Socket,
    turns: Pick<ReadTurns, "join">,
  ) {
    super({ readableHighWaterMark: 0 });
    this.reader = turns.join((bytes) => this.readPart(bytes));
    socket.on("readable", () => {
      this.offer();
    });
    // Node does not call `_read` again after a part that was taken at once.
    this.on("resume", () => {
      this.offer();
    });
    socket.once("end", () => {
      this.hasEnded = true;
      this.push(null);
    });
    socket.once("error", (error) => this.destroy(error));
    socket.once("close", (hasFailed: boolean) => {
      // A peer that has ended is still to be heard.
      if (hasFailed || !this.hasEnded || this.readableEnded) this.destroy();
      else this.once("end", () => this.destroy());
    });
  }

  /** Whether bytes have arrived that were not read yet. */
  get isWaiting(): boolean {
    return this.socket.readableLength > 0;
  }

  override _read(): void {
    this.isRead = true;
    this.offer();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done);
  }

  override _writev(chunks: { readonly chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0);
    if (bytes <= COPIED_BYTES) {
      this.socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
      return;
    }
    this.socket.cork();
    for (const { chunk } of chunks.slice(0, -1)) this.socket.write(chunk);
    this.socket.write(chunks.at(-1)?.chunk ?? Buffer.alloc(0), done);
    this.socket.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }

  private offer(): void {
    if (this.socket.readableLength > 0) {
      if (this.isRead) this.reader.ready();
    } else {
      // The socket emits "end" after this.
      this.socket.read();
    }
  }

  private readPart(bytes: number): AfterPart {
    const { socket } = this;
    if (this.isRead && !this.isPaused() && !this.destroyed) {
      const part = socket.read(Math.min(bytes, socket.readableLength)) as Buffer | null;
      if (part) this.isRead = this.push(part);
    }
    if (this.destroyed || socket.readableLength === 0) return "empty";
    return this.isRead && !this.isPaused() ? "more" : "paused";
  }
}
