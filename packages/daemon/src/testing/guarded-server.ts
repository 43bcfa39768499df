import assert from "node:assert";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type Settings,
  connect,
} from "node:http2";
import { type Server as Acceptor, type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { beginCall, framed } from "@bolthole/conformance/http2-frames";
import { STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";
import type { Authenticate } from "../rpc/authentication.js";
import { ByteBudget } from "../rpc/byte-budget.js";
import type { StreamTimes } from "../rpc/guarded-stream.js";
import { LongMessage } from "../rpc/long-message.js";
import { type MethodLimits, STREAM_BYTES } from "../rpc/method-limits.js";
import { PACED_SOCKETS } from "../rpc/paced-socket.js";
import { requestMemoryOf } from "../rpc/request-memory.js";
import { http2StreamOf } from "../rpc/response-stream.js";
import { StreamGuard } from "../rpc/stream-guard.js";

export const LIMIT = 100_000;
export const TOTAL = 400_000;
export const ECHO = "/test/Echo";
export const NEVER = "/test/Never";
export const HEALTH = "/test/Health";
export const REFUSE = "/test/Refuse";
export const STREAM = "/test/Stream";
/** The messages of its response. */
export const MESSAGES = 60;
const WHOLE: MethodLimits = {
  maxMessageBytes: LIMIT,
  setting: "--limit",
  isMutation: true,
  isRequestStream: false,
  isResponseStream: false,
  isStandard: false,
  needsToken: true,
};
const METHODS: Readonly<Record<string, MethodLimits>> = {
  [ECHO]: WHOLE,
  [NEVER]: WHOLE,
  [STREAM]: { ...WHOLE, isResponseStream: true },
  [REFUSE]: { ...WHOLE, isRequestStream: true },
  [HEALTH]: {
    maxMessageBytes: 100,
    setting: undefined,
    isMutation: false,
    isRequestStream: false,
    isResponseStream: false,
    isStandard: true,
    needsToken: false,
  },
};

const STREAMS = { total: 1000 * STREAM_BYTES, connection: 100 * STREAM_BYTES, reserve: 0 };

const same = (bytes: Buffer): Buffer => bytes;
type Respond = (error: null, value: Buffer) => void;

export interface Served {
  readonly budget: ByteBudget;
  readonly port: number;
  readonly session: ClientHttp2Session;
  readonly connect: (settings?: Settings) => ClientHttp2Session;
}

/** The functions that end the handlers of NEVER. */
export const releases: (() => void)[] = [];

const closers: (() => void)[] = [];

/** Adds a function that `closeAll` calls. */
export const onClose = (close: () => void): void => void closers.push(close);

/** Closes what the servers and connections of a test have opened. */
export function closeAll(): void {
  for (const close of closers.splice(0).reverse()) close();
}

/** Serves methods that echo, never end, refuse or stream, behind a guard. */
export async function serve(times?: StreamTimes, total = TOTAL, authenticate?: Authenticate): Promise<Served> {
  const server = new Server({ "grpc.max_concurrent_streams": 10_000 });
  const echo = (call: { request: Buffer | LongMessage }, respond: Respond): void => {
    const { request: message } = call;
    if (!(message instanceof LongMessage)) respond(null, message);
    else {
      void message
        .assemble(() => undefined)
        .then((bytes) => {
          respond(null, bytes);
        });
    }
  };
  server.register(ECHO, echo, same, (bytes: Buffer) => LongMessage.find(bytes) ?? bytes, "unary");
  const never = (call: object): void => {
    releases.push(requestMemoryOf(http2StreamOf(call))?.hold() ?? ((): void => undefined));
  };
  server.register(NEVER, never, same, same, "unary");
  server.register(HEALTH, () => undefined, same, same, "unary");
  const refuse = (_call: unknown, respond: (error: object) => void): void => {
    respond({ code: status.ABORTED, details: "refused" });
  };
  // Two messages are always on their way: each received one is followed by another one.
  const send = (call: { write(message: Buffer, onSent: () => void): void; end(): void }): void => {
    let left = MESSAGES;
    const next = (): void => {
      left -= 1;
      if (left > 0) call.write(Buffer.alloc(100_000), next);
      else if (left === 0) call.end();
    };
    call.write(Buffer.alloc(100_000), next);
    call.write(Buffer.alloc(100_000), next);
  };
  server.register(STREAM, send, same, same, "serverStream");
  server.register(REFUSE, refuse, same, same, "clientStream");
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const budget = new ByteBudget({ total, connection: total, reserve: total });
  const guard = new StreamGuard(budget, (path) => METHODS[path], STREAMS, times);
  // Fails with a version of grpc-js that keeps its HTTP/2 servers elsewhere.
  guard.guard(server, { maxConnections: 1000, authenticate });
  const acceptor: Acceptor = createServer(PACED_SOCKETS, (socket) => {
    guard.connect(socket, (stream) => {
      injector.injectConnection(stream);
    });
  }).listen(0, "127.0.0.1");
  await once(acceptor, "listening");
  const { port } = acceptor.address() as AddressInfo;
  const open = (settings: Settings = {}): ClientHttp2Session => {
    const session = connect(`http://127.0.0.1:${String(port)}`, { settings });
    session.on("error", () => undefined);
    closers.push(() => {
      session.destroy();
    });
    return session;
  };
  closers.push(() => {
    guard.stop();
    acceptor.close();
    server.forceShutdown();
  });
  return { budget, port, session: open(), connect: open };
}

export interface Response {
  readonly status: number;
  readonly reason: string | undefined;
  readonly bytes: Buffer;
}

/** Resolves with the response of a call whose client may not have ended it. */
export async function responseOf(stream: ClientHttp2Stream): Promise<Response> {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const headers = await new Promise<IncomingHttpHeaders>((resolve) => {
    const note = (received: IncomingHttpHeaders): void => {
      if (received["grpc-status"] !== undefined) resolve(received);
    };
    stream.on("response", note).on("trailers", note);
  });
  const details = headers[STATUS_DETAILS_KEY];
  const carried = typeof details === "string" ? fromWireStatus(Buffer.from(details, "base64")) : undefined;
  return { status: Number(headers["grpc-status"]), reason: carried?.reason, bytes: Buffer.concat(chunks) };
}

/** Waits until this holds. */
export async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000 && !holds(); tries += 1) await sleep(5);
  assert.ok(holds());
}

export const echo = (session: ClientHttp2Session): Promise<void> => echoWith(session, {});

/** Makes a call that is answered after all calls that were sent on its connection before. */
export async function echoWith(session: ClientHttp2Session, headers: Readonly<Record<string, string>>): Promise<void> {
  const stream = beginCall(session, ECHO, headers);
  stream.end(framed(Buffer.alloc(0)));
  await responseOf(stream);
}
