import { mkdirSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";

const UNIX = /^unix:/;
const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const DATA = 0;
const HEADERS = 1;
const END_STREAM = 1;

/** Finds the frames in one direction of an HTTP/2 connection, by their headers (RFC 9113, 4.1). */
export function frameScanner(
  preface: number,
  onFrame: (stream: number, isLast: boolean) => void,
): (chunk: Buffer) => void {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  let filled = 0;
  let toSkip = preface;
  return (chunk) => {
    for (let at = 0; at < chunk.length;) {
      if (toSkip > 0) {
        const skipped = Math.min(toSkip, chunk.length - at);
        toSkip -= skipped;
        at += skipped;
        continue;
      }
      const copied = chunk.copy(header, filled, at, at + FRAME_HEADER_BYTES - filled);
      filled += copied;
      at += copied;
      if (filled < FRAME_HEADER_BYTES) break;
      filled = 0;
      toSkip = header.readUIntBE(0, 3);
      const type = header.readUInt8(3);
      const isLast = (type === DATA || type === HEADERS) && (header.readUInt8(4) & END_STREAM) !== 0;
      onFrame(header.readUInt32BE(5) & 0x7fffffff, isLast);
    }
  };
}

/** The traffic since the last call of `take`. */
export interface Tapped {
  /** All bytes in both directions, including those of HTTP/2. */
  readonly bytes: number;
  /** The sum, over all calls, of the time from the first bytes of the request to the end of the response. */
  readonly serverMs: number;
}

/** A proxy for a server's unix socket that passes all bytes on and measures them. */
export class WireTap {
  private bytes = 0;
  private serverMs = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly target: string,
  ) {}

  static async before(target: string, folder: string): Promise<WireTap> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, "tap.sock");
    const server = createServer();
    const tap = new WireTap(server, `unix:${path}`);
    server.on("connection", (client) => {
      tap.join(client, connect(target.replace(UNIX, "")));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(path, resolve);
    });
    return tap;
  }

  take(): Tapped {
    const { bytes, serverMs } = this;
    this.bytes = 0;
    this.serverMs = 0;
    return { bytes, serverMs };
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(client: Socket, server: Socket): void {
    const begun = new Map<number, number>();
    // The stream numbers of a client increase; stream 0 belongs to the connection.
    let newest = 0;
    this.pass(
      client,
      server,
      frameScanner(PREFACE_BYTES, (stream) => {
        if (stream <= newest) return;
        newest = stream;
        begun.set(stream, performance.now());
      }),
    );
    this.pass(
      server,
      client,
      frameScanner(0, (stream, isLast) => {
        const from = begun.get(stream);
        if (!isLast || from === undefined) return;
        begun.delete(stream);
        this.serverMs += performance.now() - from;
      }),
    );
  }

  private pass(from: Socket, to: Socket, look: (chunk: Buffer) => void): void {
    this.sockets.add(from);
    from.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      look(chunk);
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.sockets.delete(from);
      to.destroy();
    });
    from.pipe(to);
  }
}
