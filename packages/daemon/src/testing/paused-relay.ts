import { once } from "node:events";
import { type Server, type Socket, createServer, connect } from "node:net";

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const DATA_FRAME = 0;

/** The place at which a relay stops: before the `count`th frame with data of one direction, over all connections. */
export interface PausePoint {
  readonly from: "daemon" | "command";
  readonly count: number;
}

/** A relay between a command and the socket of a daemon, which stops to forward at a point in the middle of a call. */
export class PausedRelay {
  /** Resolves when the point is reached. */
  readonly reached: Promise<void>;
  private readonly server: Server;
  private readonly sockets: Socket[] = [];
  private pause = (): void => undefined;
  private isPaused = false;
  private frames = 0;

  constructor(
    private readonly path: string,
    daemon: string,
    private readonly point: PausePoint,
  ) {
    this.reached = new Promise((resolve) => {
      this.pause = () => {
        this.isPaused = true;
        resolve();
      };
    });
    this.server = createServer((command) => {
      const upstream = connect(daemon);
      this.sockets.push(command, upstream);
      this.forward(command, upstream, "command");
      this.forward(upstream, command, "daemon");
    });
  }

  async listen(): Promise<void> {
    this.server.listen(this.path);
    await once(this.server, "listening");
  }

  end(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }

  private forward(from: Socket, to: Socket, side: PausePoint["from"]): void {
    // The frames of HTTP/2: a length of 3 bytes, a type, and 5 more bytes of header.
    let waiting = Buffer.alloc(0);
    let isFirst = side === "command";
    const end = (): void => {
      to.destroy();
    };
    from.on("error", end).on("close", end);
    from.on("data", (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      if (isFirst) {
        if (waiting.length < PREFACE_BYTES) return;
        to.write(waiting.subarray(0, PREFACE_BYTES));
        waiting = waiting.subarray(PREFACE_BYTES);
        isFirst = false;
      }
      while (!this.isPaused && waiting.length >= FRAME_HEADER_BYTES) {
        const length = FRAME_HEADER_BYTES + waiting.readUIntBE(0, 3);
        if (waiting.length < length) return;
        const isData = waiting[3] === DATA_FRAME && length > FRAME_HEADER_BYTES;
        if (isData && this.point.from === side && (this.frames += 1) === this.point.count) {
          this.pause();
          return;
        }
        to.write(waiting.subarray(0, length));
        waiting = waiting.subarray(length);
      }
    });
  }
}
