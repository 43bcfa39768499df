import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { type NetConnectOpts, connect as connectSocket } from "node:net";

/** How one call ended, as HTTP/2 shows it. */
export interface RawAnswer {
  /** The gRPC status; undefined: the stream ended without one. */
  readonly status: number | undefined;
  readonly text: string;
  /** Whether the daemon's own details came with the status. */
  readonly hasDetails: boolean;
  readonly httpStatus: number | undefined;
}

type Headers = Readonly<Record<string, unknown>>;

/** Far beyond what a busy machine takes: nothing may be left without an answer. */
const CALL_MS = 120_000;

/** gRPC without a gRPC library in the way: whatever bytes are wanted, many calls at a time on one connection. */
export class RawClient {
  private session: ClientHttp2Session | undefined;

  constructor(private readonly where: NetConnectOpts) {}

  /** One call. Of an answer that is endless nothing but its first bytes are waited for. */
  call(path: string, frame: Buffer, { isEndless = false, headers = {} } = {}): Promise<RawAnswer> {
    const stream = this.open(path, headers);
    stream.end(frame);
    return answerOf(stream, isEndless);
  }

  /** A stream whose request is up to the caller. */
  open(path: string, headers: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
    return this.connected().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
  }

  close(): void {
    this.session?.destroy();
  }

  private connected(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    const session = connect("http://localhost", { createConnection: () => connectSocket(this.where) });
    session.on("error", () => undefined);
    this.session = session;
    return session;
  }
}

function answerOf(stream: ClientHttp2Stream, isEndless: boolean): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let head: Headers = {};
    let trailers: Headers = {};
    let bytes = 0;
    const timer = setTimeout(() => {
      stream.close(constants.NGHTTP2_CANCEL);
    }, CALL_MS);
    stream.on("response", (headers: Headers) => {
      head = headers;
    });
    stream.on("trailers", (headers: Headers) => {
      trailers = headers;
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (isEndless) stream.close(constants.NGHTTP2_CANCEL);
    });
    stream.on("error", () => undefined);
    stream.on("close", () => {
      clearTimeout(timer);
      const last = "grpc-status" in trailers ? trailers : head;
      const { "grpc-status": status, "grpc-message": message } = last;
      resolve({
        status: typeof status === "string" ? Number(status) : isEndless && bytes > 0 ? 0 : undefined,
        text: typeof message === "string" ? message : "",
        hasDetails: "grpc-status-details-bin" in last,
        httpStatus: head[":status"] === undefined ? undefined : Number(head[":status"]),
      });
    });
  });
}

/** A gRPC message in its frame. */
export function framed(message: Buffer, flag = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, message]);
}
