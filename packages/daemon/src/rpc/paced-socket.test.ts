import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { PACED_SOCKETS, PacedSocket } from "./paced-socket.js";
import { MOST_BYTES, ReadTurns } from "./read-turns.js";

const MEBIBYTE = 1024 * 1024;
/** The most that libuv reads at once. */
const PIECE_BYTES = 64 * 1024;

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

interface Pair {
  readonly client: Socket;
  readonly socket: Socket;
  readonly paced: PacedSocket;
}

/** Connects a client to a paced socket. */
async function newPair(turns: Pick<ReadTurns, "join"> = new ReadTurns()): Promise<Pair> {
  const acceptor = createServer(PACED_SOCKETS);
  acceptor.listen(0, "127.0.0.1");
  await once(acceptor, "listening");
  const client = connect((acceptor.address() as AddressInfo).port, "127.0.0.1").on("error", () => undefined);
  const [socket] = (await once(acceptor, "connection")) as [Socket];
  const paced = new PacedSocket(socket, turns);
  closers.push(() => {
    acceptor.close();
    client.destroy();
    paced.destroy();
  });
  return { client, socket, paced };
}

async function digestOf(stream: Socket | PacedSocket): Promise<string> {
  const hash = createHash("sha256");
  stream.on("data", (part: Buffer) => hash.update(part));
  await once(stream, "end");
  return hash.digest("hex");
}

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

test("all bytes arrive in both directions, and then the end", async () => {
  const { client, paced } = await newPair();
  const [request, response] = [randomBytes(24 * MEBIBYTE), randomBytes(24 * MEBIBYTE)];
  const received = digestOf(paced);
  const answered = digestOf(client);
  for (let from = 0; from < request.length; from += MEBIBYTE) client.write(request.subarray(from, from + MEBIBYTE));
  // Many small ones and some large ones together.
  for (let from = 0; from < MEBIBYTE; from += 4096) paced.write(response.subarray(from, from + 4096));
  for (let from = MEBIBYTE; from < response.length; from += MEBIBYTE)
    paced.write(response.subarray(from, from + MEBIBYTE));
  client.end();
  expect(await received).toBe(digest(request));
  paced.end();
  expect(await answered).toBe(digest(response));
});

test("a connection that waits for its turn buffers one piece of the system, and the client waits", async () => {
  const { client, socket } = await newPair({ join: () => ({ ready: () => undefined }) });
  let isSent = false;
  client.write(Buffer.alloc(32 * MEBIBYTE), () => {
    isSent = true;
  });
  for (let iteration = 0; iteration < 10_000 && socket.readableLength < MOST_BYTES; iteration += 1) {
    await nextLoopIteration();
  }
  for (let iteration = 0; iteration < 1000; iteration += 1) await nextLoopIteration();
  expect(socket.readableLength).toBeGreaterThanOrEqual(MOST_BYTES);
  expect(socket.readableLength).toBeLessThanOrEqual(MOST_BYTES + PIECE_BYTES);
  expect(isSent).toBe(false);
});

test("no more is read than the receiver takes", async () => {
  const { client, paced, socket } = await newPair();
  client.write(Buffer.alloc(8 * MEBIBYTE));
  let taken = 0;
  paced.on("data", (part: Buffer) => {
    taken += part.length;
    paced.pause();
  });
  for (let iteration = 0; iteration < 10_000 && taken === 0; iteration += 1) await nextLoopIteration();
  for (let iteration = 0; iteration < 1000; iteration += 1) await nextLoopIteration();
  expect(taken).toBeLessThanOrEqual(MOST_BYTES);
  expect(paced.readableLength + socket.readableLength).toBeLessThanOrEqual(3 * MOST_BYTES + PIECE_BYTES);
  paced.removeAllListeners("data").on("data", (part: Buffer) => (taken += part.length));
  paced.resume();
  for (let iteration = 0; iteration < 100_000 && taken < 8 * MEBIBYTE; iteration += 1) await nextLoopIteration();
  expect(taken).toBe(8 * MEBIBYTE);
});

test.each([100, 5_000, 200_000])("a receiver that rests gets all of %d bytes, and then the end", async (length) => {
  const { client, socket, paced } = await newPair();
  paced.on("error", () => undefined);
  client.resume().end(randomBytes(length));
  let taken = 0;
  paced.on("data", (part: Buffer) => {
    taken += part.length;
    paced.pause();
  });
  for (let iteration = 0; iteration < 100_000 && !paced.readableEnded; iteration += 1) {
    await nextLoopIteration();
    // Not before the system has all that the client sends, and its end.
    if (iteration % 50 === 49) paced.resume();
  }
  expect([taken, paced.readableEnded]).toEqual([length, true]);
  for (let iteration = 0; iteration < 10_000 && !socket.destroyed; iteration += 1) await nextLoopIteration();
  expect(socket.destroyed).toBe(true);
});

test("each side is closed with the other one", async () => {
  const ended = await newPair();
  ended.client.resume();
  ended.paced.destroy();
  await once(ended.client, "close");
  expect(ended.socket.destroyed).toBe(true);
  const lost = await newPair();
  const closed = new Promise((resolve) => lost.paced.once("close", resolve));
  lost.paced.on("error", () => undefined).resume();
  lost.client.resetAndDestroy();
  await closed;
  expect(lost.socket.destroyed).toBe(true);
});
