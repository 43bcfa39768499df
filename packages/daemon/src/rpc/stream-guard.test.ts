import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type Settings,
  connect,
  constants,
} from "node:http2";
import {
  type Server as Acceptor,
  type AddressInfo,
  type Socket,
  connect as connectSocket,
  createServer,
} from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { fromWireStatus } from "@bolthole/contract/wire";
import { STATUS_DETAILS_KEY } from "@bolthole/contract/wire";
import { ByteBudget } from "./byte-budget.js";
import { type MethodLimits, STREAM_BYTES } from "./method-limits.js";
import { requestMemoryOf } from "./request-memory.js";
import { http2StreamOf } from "./response-stream.js";
import { type Authenticate, requireToken } from "./authentication.js";
import type { StreamTimes } from "./guarded-stream.js";
import { LongMessage } from "./long-message.js";
import { MAX_REFUSALS, RESET_WEIGHT, UNAUTHENTICATED_WEIGHT } from "./refusals.js";
import { MAX_STANDARD_CALLS, MAX_STANDARD_CALLS_OF_CONNECTION } from "./standard-calls.js";
import { StreamGuard } from "./stream-guard.js";

const LIMIT = 100_000;
const TOTAL = 400_000;
const ECHO = "/test/Echo";
const NEVER = "/test/Never";
const HEALTH = "/test/Health";
const REFUSE = "/test/Refuse";
const STREAM = "/test/Stream";
/** The messages of its response. */
const MESSAGES = 60;
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

interface Served {
  readonly budget: ByteBudget;
  readonly port: number;
  readonly session: ClientHttp2Session;
  readonly connect: (settings?: Settings) => ClientHttp2Session;
}

/** The functions that end the handlers of NEVER. */
const releases: (() => void)[] = [];

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

async function serve(times?: StreamTimes, total = TOTAL, authenticate?: Authenticate): Promise<Served> {
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
  const acceptor: Acceptor = createServer((socket) => {
    injector.injectConnection(socket);
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

function request(
  session: ClientHttp2Session,
  path: string,
  more: Readonly<Record<string, string>> = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...more },
    { endStream: false },
  );
  stream.on("error", () => undefined);
  return stream;
}

interface Response {
  readonly status: number;
  readonly reason: string | undefined;
  readonly bytes: Buffer;
}

/** Resolves with the response of a call whose client may not have ended it. */
async function responseOf(stream: ClientHttp2Stream): Promise<Response> {
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

function framed(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  prefix.writeUInt8(flag);
  return Buffer.concat([prefix, message]);
}

/** Waits until this holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000 && !holds(); tries += 1) await sleep(5);
  expect(holds()).toBe(true);
}

test.each([0, 1, 5, 5000, 16_384, LIMIT])("a message of %d bytes arrives as it was sent", async (bytes) => {
  const { session, budget } = await serve();
  const message = framed(Buffer.alloc(bytes, "m"));
  const stream = request(session, ECHO);
  stream.end(message);
  expect(await responseOf(stream)).toMatchObject({ status: status.OK, bytes: message });
  await until(() => budget.bytes === 0);
});

test("a message in frames of one byte arrives as it was sent", async () => {
  const { session, budget } = await serve();
  const message = framed(Buffer.from("many small frames".repeat(20)));
  const stream = request(session, ECHO);
  for (const byte of message) await new Promise((resolve) => stream.write(Buffer.of(byte), resolve));
  stream.end();
  expect(await responseOf(stream)).toMatchObject({ status: status.OK, bytes: message });
  await until(() => budget.bytes === 0);
});

test("a compressed message is refused before it has arrived", async () => {
  const { session, budget } = await serve();
  const stream = request(session, ECHO, { "grpc-encoding": "gzip" });
  stream.write(framed(gzipSync(Buffer.alloc(1 << 20)), 1).subarray(0, 20));
  expect(await responseOf(stream)).toMatchObject({ status: status.UNIMPLEMENTED, reason: "UNSUPPORTED" });
  await until(() => budget.bytes === 0);
});

test.each([
  ["a method", ECHO, LIMIT + 1],
  ["a standard service", HEALTH, 101],
])("a message above the limit of %s is refused when its prefix has arrived", async (_name, path, bytes) => {
  const { session } = await serve();
  const stream = request(session, path);
  stream.write(framed(Buffer.alloc(bytes)).subarray(0, 5));
  expect(await responseOf(stream)).toMatchObject({ status: status.INVALID_ARGUMENT, reason: "TOO_LARGE" });
});

test("unfinished messages count as they arrive, and those above the budget are refused as BUSY", async () => {
  const { session, budget } = await serve();
  const unfinished = framed(Buffer.alloc(90_000)).subarray(0, 90_000);
  const streams = Array.from({ length: 8 }, () => request(session, NEVER));
  const responses = streams.map(responseOf);
  for (const stream of streams) stream.write(unfinished);
  expect(await Promise.race(responses)).toMatchObject({ status: status.RESOURCE_EXHAUSTED, reason: "BUSY" });
  await until(() => budget.bytes > 2 * unfinished.length);
  // A small message is still received.
  const small = request(session, ECHO);
  small.end(framed(Buffer.from("small")));
  expect(await responseOf(small)).toMatchObject({ status: status.OK });
  for (const stream of streams) stream.close();
  await until(() => budget.bytes === 0);
});

test("a call that is reset gives its memory back when its handler has ended", async () => {
  const { session, budget } = await serve();
  releases.length = 0;
  const stream = request(session, NEVER);
  stream.end(framed(Buffer.alloc(80_000)));
  await until(() => releases.length === 1);
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => stream.closed);
  // The daemon has received the reset before this call.
  await echo(session);
  expect(budget.bytes).toBeGreaterThan(80_000);
  releases[0]?.();
  await until(() => budget.bytes === 0);
});

test("a connection that is lost gives its memory back", async () => {
  const { budget, connect: open } = await serve();
  const session = open();
  request(session, NEVER).write(framed(Buffer.alloc(90_000)).subarray(0, 80_000));
  await until(() => budget.bytes > 80_000);
  session.destroy();
  await until(() => budget.bytes === 0);
});

test.each([
  ["nothing", Buffer.alloc(0)],
  ["a part of the prefix", Buffer.alloc(3)],
  ["a part of a message", framed(Buffer.alloc(1000)).subarray(0, 500)],
  ["a message without its end", framed(Buffer.alloc(1000))],
])("a call that sends %s and then waits is ended", async (_name, bytes) => {
  const { session, budget } = await serve({ message: 50, receive: 10_000, end: 10_000, checks: 5 });
  const stream = request(session, ECHO);
  stream.write(bytes);
  expect(await responseOf(stream)).toMatchObject({ status: status.CANCELLED, reason: "CANCELLED" });
  await until(() => budget.bytes === 0);
});

test("calls without a message are answered, also those that wait for their turn", async () => {
  const { session } = await serve({ message: 1000, receive: 10_000, end: 10_000, checks: 5 });
  const streams = Array.from({ length: 90 }, () => request(session, ECHO));
  for (const stream of streams) stream.end();
  const statuses = await Promise.all(streams.map(async (stream) => (await responseOf(stream)).status));
  expect(new Set(statuses)).toEqual(new Set([status.UNIMPLEMENTED]));
});

test("a call whose message has arrived may last longer than a message may", async () => {
  const { session } = await serve({ message: 10, receive: 10_000, end: 10_000, checks: 5 });
  const stream = request(session, NEVER);
  stream.end(framed(Buffer.from("whole")));
  const isEnded = Promise.race([responseOf(stream).then(() => true), sleep(300, false)]);
  expect(await isEnded).toBe(false);
});

test.each([REFUSE, "/test/Nothing"])(
  "a call of %s that its client never ends is ended after the response",
  async (path) => {
    const { session, budget } = await serve({ message: 10_000, receive: 10_000, end: 20, checks: 5 });
    const stream = request(session, path);
    stream.write(framed(Buffer.from("message")));
    await responseOf(stream);
    await until(() => budget.bytes === 0);
  },
);

test("a call whose client does not receive its response is ended", async () => {
  const { budget, connect: open } = await serve({ message: 10_000, receive: 50, end: 10_000, checks: 5 });
  const session = open({ initialWindowSize: 0 });
  const stream = request(session, ECHO);
  stream.end(framed(Buffer.alloc(1000)));
  await until(() => stream.closed);
  expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
  await until(() => budget.bytes === 0);
});

test("a response of many messages may last longer than one of them", async () => {
  const { session } = await serve({ message: 10_000, receive: 100, end: 10_000, checks: 5 });
  const stream = request(session, STREAM);
  let grpcStatus: unknown;
  stream.once("trailers", (headers: IncomingHttpHeaders) => {
    grpcStatus = headers["grpc-status"];
  });
  stream.end(framed(Buffer.alloc(1)));
  // A message is longer than the window, so that each is sent in several reads of the client.
  for (let reads = 0; reads < 1000 && grpcStatus === undefined && !stream.destroyed; reads += 1) {
    await sleep(60);
    stream.read();
  }
  expect(grpcStatus).toBe("0");
});

test("the oldest call of a standard service is ended when there are too many", async () => {
  const { connect: open } = await serve(undefined, 1 << 30);
  const sessions = Array.from({ length: MAX_STANDARD_CALLS / MAX_STANDARD_CALLS_OF_CONNECTION }, () => open());
  const ended: number[] = [];
  for (let number = 0; number < MAX_STANDARD_CALLS; number += 1) {
    const stream = request(sessions[number % sessions.length] as ClientHttp2Session, HEALTH);
    stream.once("response", () => ended.push(number));
    // One after the other, so that the daemon receives them in this order.
    await echo(sessions[number % sessions.length] as ClientHttp2Session);
  }
  expect(ended).toEqual([]);
  const session = open();
  request(session, HEALTH);
  await until(() => ended.length > 0);
  for (const each of [...sessions, session]) await echo(each);
  expect(ended).toEqual([0]);
});

test("a connection with many calls of a standard service is refused more of them", async () => {
  const { session } = await serve(undefined, 1 << 30);
  for (let number = 0; number < MAX_STANDARD_CALLS_OF_CONNECTION; number += 1) request(session, HEALTH);
  const refused = request(session, HEALTH);
  expect(await responseOf(refused)).toMatchObject({ status: status.RESOURCE_EXHAUSTED, reason: "BUSY" });
});

const echo = (session: ClientHttp2Session): Promise<void> => echoWith(session, {});

/** Makes a call that is answered after all calls that were sent on its connection before. */
async function echoWith(session: ClientHttp2Session, headers: Readonly<Record<string, string>>): Promise<void> {
  const stream = request(session, ECHO, headers);
  stream.end(framed(Buffer.alloc(0)));
  await responseOf(stream);
}

test("a connection with too many open streams is refused more, and another connection is served", async () => {
  const { session, connect: open } = await serve();
  for (let count = 0; count < 100; count += 1) request(session, NEVER);
  const refused = request(session, NEVER);
  await until(() => refused.closed);
  expect(refused.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
  await echo(open());
});

test("a connection is not closed for calls that others keep out", async () => {
  const { session, connect: open } = await serve();
  const others = Array.from({ length: 10 }, () => open());
  for (const other of others) {
    for (let count = 0; count < 100; count += 1) request(other, NEVER);
    // It is refused when those before it have arrived.
    const last = request(other, NEVER);
    await until(() => last.closed);
  }
  const refused = Array.from({ length: 90 }, () => request(session, NEVER));
  await until(() => refused.every(({ closed }) => closed));
  expect(refused.every(({ rstCode }) => rstCode === constants.NGHTTP2_REFUSED_STREAM)).toBe(true);
  expect(session.destroyed).toBe(false);
});

test("a connection with many refused calls is closed, and another connection is served", async () => {
  const { session, connect: open, budget } = await serve();
  for (let count = 0; count < MAX_STANDARD_CALLS_OF_CONNECTION + MAX_REFUSALS; count += 1) request(session, HEALTH);
  await until(() => session.destroyed);
  await echo(open());
  await until(() => budget.bytes === 0);
});

/** Returns a frame of HTTP/2. */
function http2Frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Returns the bytes of a new connection whose calls are begun and reset. A client library of HTTP/2 would send nothing of them. */
function resetCalls(count: number): Buffer {
  const literal = (text: string): Buffer => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
  const headers = Object.entries({ ":method": "POST", ":scheme": "http", ":authority": "test", ":path": ECHO }).flatMap(
    ([name, value]) => [Buffer.of(0), literal(name), literal(value)],
  );
  const calls = Array.from({ length: count }, (_, index) => [
    http2Frame(1, constants.NGHTTP2_FLAG_END_HEADERS, 2 * index + 1, Buffer.concat(headers)),
    http2Frame(3, 0, 2 * index + 1, Buffer.of(0, 0, 0, constants.NGHTTP2_CANCEL)),
  ]);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    http2Frame(4, 0, 0, Buffer.alloc(0)),
    ...calls.flat(),
  ]);
}

test("a connection whose calls are reset at once is closed, and one with few of them stays", async () => {
  const { session, port, budget } = await serve();
  // Some begin before they are reset.
  const connections = [(2 * MAX_REFUSALS) / RESET_WEIGHT, MAX_REFUSALS].map((count) => {
    const connection = connectSocket(port, "127.0.0.1");
    closers.push(() => connection.destroy());
    connection.write(resetCalls(count));
    return connection.resume();
  });
  await once(connections[0] as Socket, "close");
  // After these, its own calls have been received, too.
  for (let calls = 0; calls < 3; calls += 1) await echo(session);
  expect(connections.map(({ closed }) => closed)).toEqual([true, false]);
  await until(() => budget.bytes === 0);
});

describe("a listener that needs a token", () => {
  const serveWithToken = (): Promise<Served> => serve(undefined, TOTAL, requireToken("the token"));
  const token = { authorization: "Bearer the token" };

  test("ends a call without it at once, and serves one with it, and a health check without it", async () => {
    const { session, budget } = await serveWithToken();
    // The client does not end its call.
    const refused = request(session, ECHO);
    expect(await responseOf(refused)).toMatchObject({ status: status.UNAUTHENTICATED, reason: "UNAUTHENTICATED" });
    await until(() => refused.closed);
    expect(budget.bytes).toBe(0);
    const wrong = request(session, ECHO, { authorization: "Bearer another" });
    expect(await responseOf(wrong)).toMatchObject({ reason: "UNAUTHENTICATED" });
    const unknown = request(session, "/test/Unknown");
    expect(await responseOf(unknown)).toMatchObject({ reason: "UNAUTHENTICATED" });
    const served = request(session, ECHO, token);
    served.end(framed(Buffer.alloc(0)));
    expect(await responseOf(served)).toMatchObject({ status: status.OK });
    const watch = request(session, HEALTH);
    await echoWith(session, token);
    expect(watch.closed).toBe(false);
  });

  test("closes a connection with several such calls, and serves the others", async () => {
    const { session, connect: open } = await serveWithToken();
    for (let count = 0; count < MAX_REFUSALS / UNAUTHENTICATED_WEIGHT; count += 1) request(session, ECHO);
    await until(() => session.destroyed);
    await echoWith(open(), token);
  });
});
