import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { type NetConnectOpts, connect as connectSocket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { beginCall } from "@bolthole/conformance/http2-frames";

/** The end of one call, as HTTP/2 shows it. */
export interface RawResponse {
  /** The gRPC status; undefined when the stream ended without one. */
  readonly status: number | undefined;
  readonly text: string;
  /** Whether the status has the daemon's details. */
  readonly hasDetails: boolean;
  readonly httpStatus: number | undefined;
}

type Headers = Readonly<Record<string, unknown>>;

/** The longest time until a response. A call without a response is a violation, so this allows for a busy machine. */
const CALL_MS = 120_000;

/** A gRPC client without a gRPC library. It sends any bytes, and many calls at a time on one connection. */
export class RawClient {
  private session: ClientHttp2Session | undefined;

  constructor(private readonly where: NetConnectOpts) {}

  /** Makes one call. If the response stream never ends, only its first bytes are awaited. */
  call(path: string, frame: Buffer, { isEndless = false, headers = {} } = {}): Promise<RawResponse> {
    const stream = this.open(path, headers);
    stream.end(frame);
    return responseOf(stream, isEndless);
  }

  /** Opens a stream; the caller writes the request. */
  open(path: string, headers: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
    return beginCall(this.connected(), path, headers);
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

function responseOf(stream: ClientHttp2Stream, isEndless: boolean): Promise<RawResponse> {
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

const WRITTEN_MS = 50;

/** Returns the bytes that an HTTP/2 client writes for these calls when no server responds. */
export async function recordConnection(calls: readonly { path: string; body: Buffer }[]): Promise<Buffer> {
  const written: Buffer[] = [];
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk);
      done();
    },
  });
  const session = connect("http://localhost", { createConnection: () => duplex });
  session.on("error", () => undefined);
  for (const { path, body } of calls) {
    beginCall(session, path).end(body);
  }
  await sleep(WRITTEN_MS);
  session.destroy();
  return Buffer.concat(written);
}
