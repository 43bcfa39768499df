import { once } from "node:events";
import { type ClientHttp2Session, type IncomingHttpHeaders, constants } from "node:http2";
import { type Socket, connect as connectSocket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { status } from "@grpc/grpc-js";
import { beginCall, framed, resetCalls } from "@bolthole/conformance/http2-frames";
import {
  ECHO,
  HEALTH,
  LIMIT,
  NEVER,
  REFUSE,
  STREAM,
  TOTAL,
  type Served,
  closeAll,
  echo,
  echoWith,
  onClose,
  releases,
  responseOf,
  serve,
  until,
} from "../testing/guarded-server.js";
import { requireToken } from "./authentication.js";
import { MAX_REFUSALS, RESET_WEIGHT, UNAUTHENTICATED_WEIGHT } from "./refusals.js";
import { MAX_STANDARD_CALLS, MAX_STANDARD_CALLS_OF_CONNECTION } from "./standard-calls.js";

afterEach(closeAll);

test.each([0, 1, 5, 5000, 16_384, LIMIT])("a message of %d bytes arrives as it was sent", async (bytes) => {
  const { session, budget } = await serve();
  const message = framed(Buffer.alloc(bytes, "m"));
  const stream = beginCall(session, ECHO);
  stream.end(message);
  expect(await responseOf(stream)).toMatchObject({ status: status.OK, bytes: message });
  await until(() => budget.bytes === 0);
});

test("a message in frames of one byte arrives as it was sent", async () => {
  const { session, budget } = await serve();
  const message = framed(Buffer.from("many small frames".repeat(20)));
  const stream = beginCall(session, ECHO);
  for (const byte of message) await new Promise((resolve) => stream.write(Buffer.of(byte), resolve));
  stream.end();
  expect(await responseOf(stream)).toMatchObject({ status: status.OK, bytes: message });
  await until(() => budget.bytes === 0);
});

test("a compressed message is refused before it has arrived", async () => {
  const { session, budget } = await serve();
  const stream = beginCall(session, ECHO, { "grpc-encoding": "gzip" });
  stream.write(framed(gzipSync(Buffer.alloc(1 << 20)), 1).subarray(0, 20));
  expect(await responseOf(stream)).toMatchObject({ status: status.UNIMPLEMENTED, reason: "UNSUPPORTED" });
  await until(() => budget.bytes === 0);
});

test.each([
  ["a method", ECHO, LIMIT + 1],
  ["a standard service", HEALTH, 101],
])("a message above the limit of %s is refused when its prefix has arrived", async (_name, path, bytes) => {
  const { session } = await serve();
  const stream = beginCall(session, path);
  stream.write(framed(Buffer.alloc(bytes)).subarray(0, 5));
  expect(await responseOf(stream)).toMatchObject({ status: status.INVALID_ARGUMENT, reason: "TOO_LARGE" });
});

test("unfinished messages count as they arrive, and those above the budget are refused as BUSY", async () => {
  const { session, budget } = await serve();
  const unfinished = framed(Buffer.alloc(90_000)).subarray(0, 90_000);
  const streams = Array.from({ length: 8 }, () => beginCall(session, NEVER));
  const responses = streams.map(responseOf);
  for (const stream of streams) stream.write(unfinished);
  expect(await Promise.race(responses)).toMatchObject({ status: status.RESOURCE_EXHAUSTED, reason: "BUSY" });
  await until(() => budget.bytes > 2 * unfinished.length);
  // A small message is still received.
  const small = beginCall(session, ECHO);
  small.end(framed(Buffer.from("small")));
  expect(await responseOf(small)).toMatchObject({ status: status.OK });
  for (const stream of streams) stream.close();
  await until(() => budget.bytes === 0);
});

test("a call that is reset gives its memory back when its handler has ended", async () => {
  const { session, budget } = await serve();
  releases.length = 0;
  const stream = beginCall(session, NEVER);
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
  beginCall(session, NEVER).write(framed(Buffer.alloc(90_000)).subarray(0, 80_000));
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
  const stream = beginCall(session, ECHO);
  stream.write(bytes);
  expect(await responseOf(stream)).toMatchObject({ status: status.CANCELLED, reason: "CANCELLED" });
  await until(() => budget.bytes === 0);
});

test("calls without a message are answered, also those that wait for their turn", async () => {
  const { session } = await serve({ message: 1000, receive: 10_000, end: 10_000, checks: 5 });
  const streams = Array.from({ length: 90 }, () => beginCall(session, ECHO));
  for (const stream of streams) stream.end();
  const statuses = await Promise.all(streams.map(async (stream) => (await responseOf(stream)).status));
  expect(new Set(statuses)).toEqual(new Set([status.UNIMPLEMENTED]));
});

test("a call whose message has arrived may last longer than a message may", async () => {
  const { session } = await serve({ message: 10, receive: 10_000, end: 10_000, checks: 5 });
  const stream = beginCall(session, NEVER);
  stream.end(framed(Buffer.from("whole")));
  const isEnded = Promise.race([responseOf(stream).then(() => true), sleep(300, false)]);
  expect(await isEnded).toBe(false);
});

test.each([REFUSE, "/test/Nothing"])(
  "a call of %s that its client never ends is ended after the response",
  async (path) => {
    const { session, budget } = await serve({ message: 10_000, receive: 10_000, end: 20, checks: 5 });
    const stream = beginCall(session, path);
    stream.write(framed(Buffer.from("message")));
    await responseOf(stream);
    await until(() => budget.bytes === 0);
  },
);

test("a call whose client does not receive its response is ended", async () => {
  const { budget, connect: open } = await serve({ message: 10_000, receive: 50, end: 10_000, checks: 5 });
  const session = open({ initialWindowSize: 0 });
  const stream = beginCall(session, ECHO);
  stream.end(framed(Buffer.alloc(1000)));
  await until(() => stream.closed);
  expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
  await until(() => budget.bytes === 0);
});

test("a response of many messages may last longer than one of them", async () => {
  const { session } = await serve({ message: 10_000, receive: 100, end: 10_000, checks: 5 });
  const stream = beginCall(session, STREAM);
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
    const stream = beginCall(sessions[number % sessions.length] as ClientHttp2Session, HEALTH);
    stream.once("response", () => ended.push(number));
    // One after the other, so that the daemon receives them in this order.
    await echo(sessions[number % sessions.length] as ClientHttp2Session);
  }
  expect(ended).toEqual([]);
  const session = open();
  beginCall(session, HEALTH);
  await until(() => ended.length > 0);
  for (const each of [...sessions, session]) await echo(each);
  expect(ended).toEqual([0]);
});

test("a connection with many calls of a standard service is refused more of them", async () => {
  const { session } = await serve(undefined, 1 << 30);
  for (let number = 0; number < MAX_STANDARD_CALLS_OF_CONNECTION; number += 1) beginCall(session, HEALTH);
  const refused = beginCall(session, HEALTH);
  expect(await responseOf(refused)).toMatchObject({ status: status.RESOURCE_EXHAUSTED, reason: "BUSY" });
});

test("a connection with too many open streams is refused more, and another connection is served", async () => {
  const { session, connect: open } = await serve();
  for (let count = 0; count < 100; count += 1) beginCall(session, NEVER);
  const refused = beginCall(session, NEVER);
  await until(() => refused.closed);
  expect(refused.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
  await echo(open());
});

test("a connection is not closed for calls that others keep out", async () => {
  const { session, connect: open } = await serve();
  const others = Array.from({ length: 10 }, () => open());
  for (const other of others) {
    for (let count = 0; count < 100; count += 1) beginCall(other, NEVER);
    // It is refused when those before it have arrived.
    const last = beginCall(other, NEVER);
    await until(() => last.closed);
  }
  const refused = Array.from({ length: 90 }, () => beginCall(session, NEVER));
  await until(() => refused.every(({ closed }) => closed));
  expect(refused.every(({ rstCode }) => rstCode === constants.NGHTTP2_REFUSED_STREAM)).toBe(true);
  expect(session.destroyed).toBe(false);
});

test("a connection with many refused calls is closed, and another connection is served", async () => {
  const { session, connect: open, budget } = await serve();
  const goaway = once(session, "goaway");
  for (let count = 0; count < MAX_STANDARD_CALLS_OF_CONNECTION + MAX_REFUSALS; count += 1) beginCall(session, HEALTH);
  expect(await goaway).toContain(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await until(() => session.destroyed);
  await echo(open());
  await until(() => budget.bytes === 0);
});

test("a connection whose calls are reset at once is closed, and one with few of them stays", async () => {
  const { session, port, budget } = await serve();
  // Some begin before they are reset.
  const connections = [(2 * MAX_REFUSALS) / RESET_WEIGHT, MAX_REFUSALS].map((count) => {
    const connection = connectSocket(port, "127.0.0.1");
    onClose(() => connection.destroy());
    connection.write(resetCalls(ECHO, count));
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
    const refused = beginCall(session, ECHO);
    expect(await responseOf(refused)).toMatchObject({ status: status.UNAUTHENTICATED, reason: "UNAUTHENTICATED" });
    await until(() => refused.closed);
    expect(budget.bytes).toBe(0);
    const wrong = beginCall(session, ECHO, { authorization: "Bearer another" });
    expect(await responseOf(wrong)).toMatchObject({ reason: "UNAUTHENTICATED" });
    const unknown = beginCall(session, "/test/Unknown");
    expect(await responseOf(unknown)).toMatchObject({ reason: "UNAUTHENTICATED" });
    const served = beginCall(session, ECHO, token);
    served.end(framed(Buffer.alloc(0)));
    expect(await responseOf(served)).toMatchObject({ status: status.OK });
    const watch = beginCall(session, HEALTH);
    await echoWith(session, token);
    expect(watch.closed).toBe(false);
  });

  test("answers the first call of each connection, which arrives before the daemon's own first frames were sent", async () => {
    const { connect: open } = await serveWithToken();
    const statuses = Array.from({ length: 30 }, async () => {
      const stream = beginCall(open(), ECHO);
      stream.end(framed(Buffer.alloc(500)));
      const response = await Promise.race([responseOf(stream), once(stream, "close").then(() => undefined)]);
      return response?.status;
    });
    expect(new Set(await Promise.all(statuses))).toEqual(new Set([status.UNAUTHENTICATED]));
  });

  test("closes a connection with several such calls, and serves the others", async () => {
    const { session, connect: open } = await serveWithToken();
    for (let count = 0; count < MAX_REFUSALS / UNAUTHENTICATED_WEIGHT; count += 1) beginCall(session, ECHO);
    await until(() => session.destroyed);
    await echoWith(open(), token);
  });
});
