import { constants } from "node:http2";
import { type NetConnectOpts, type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { frame, framed, preface } from "@bolthole/conformance/http2-frames";
import type { Random } from "../random.js";
import { randomBytes } from "./mutation.js";
import { RawClient, recordConnection } from "./raw-http2.js";
import type { Seeds } from "./requests.js";

/** The targets of an attack: the daemon's addresses, requests, and a runtime with a document of megabytes. */
export interface AttackTarget {
  readonly socket: string;
  readonly onTcp: NetConnectOpts;
  readonly seeds: Seeds;
  readonly random: Random;
  readonly largeRuntime: Buffer;
}

/** Performs actions that no client should perform. Returns their number. */
type Attack = (target: AttackTarget) => Promise<number>;

const HOLD_MS = 1500;
const GARBLED = 150;
/** The number of slow readers. The daemon may buffer a few messages of the document for each. */
export const READERS = 60;
const SENDERS = 200;
const RESETS = 3000;
const FLOODS = 6;
const FLOOD_FRAMES = 20_000;
const IDLE = 3000;
const IN_STEPS_OF = 100;
const LOAD_SNAPSHOT = "/bolthole.v1.RuntimeStoreService/LoadSessionSnapshot";

const DATA = 0;
const PRIORITY = 2;
const SETTINGS = 4;
const PING = 6;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;

/** Sends the bytes of a valid connection with a random change, or cut off. */
const garbledConnections: Attack = async ({ socket, onTcp, seeds, random }) => {
  const calls = Array.from({ length: 5 }, () => seeds.next());
  const bytes = await recordConnection(calls.map(({ path, message }) => ({ path, body: framed(message) })));
  await inSteps(GARBLED, 30, async () => {
    const at = random.below(bytes.length);
    const garbled = random.oneIn(3)
      ? bytes.subarray(0, at)
      : Buffer.concat([
          bytes.subarray(0, at),
          randomBytes(random, 1 + random.below(9)),
          bytes.subarray(at + 1 + random.below(9)),
        ]);
    const isOnTcp = random.oneIn(2);
    const connection = opened(isOnTcp ? onTcp : { path: socket });
    connection.write(garbled);
    if (random.oneIn(2)) connection.end();
    await sleep(random.below(40));
    if (isOnTcp && random.oneIn(2) && !connection.connecting) connection.resetAndDestroy();
    else connection.destroy();
  });
  return GARBLED;
};

/** Starts loads and does not read the responses. */
const slowReaders: Attack = async ({ socket, largeRuntime }) => {
  const clients = Array.from({ length: 4 }, () => new RawClient({ path: socket }));
  const streams = Array.from({ length: READERS }, (_, index) => {
    const stream = (clients[index % clients.length] as RawClient).open(LOAD_SNAPSHOT);
    stream.on("error", () => undefined);
    stream.end(framed(largeRuntime));
    return stream;
  });
  await sleep(HOLD_MS);
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  for (const client of clients) client.close();
  return READERS;
};

/** Sends requests byte by byte, and never completes them. */
const slowSenders: Attack = async ({ socket, seeds }) => {
  const client = new RawClient({ path: socket });
  const streams = Array.from({ length: SENDERS }, () => {
    const { path, message } = seeds.next();
    const stream = client.open(path);
    stream.on("error", () => undefined);
    stream.resume();
    return { stream, bytes: framed(message, 0, message.length + 1000) };
  });
  const steps = 10;
  for (let step = 0; step < steps; step += 1) {
    for (const { stream, bytes } of streams) if (!stream.destroyed) stream.write(bytes.subarray(step, step + 1));
    await sleep(HOLD_MS / steps);
  }
  client.close();
  return SENDERS;
};

/** Resets streams immediately after they are opened. */
const resets: Attack = async ({ socket, seeds, random }) => {
  await inSteps(RESETS / IN_STEPS_OF, 2, async () => {
    const client = new RawClient({ path: socket });
    for (let index = 0; index < IN_STEPS_OF; index += 1) {
      const { path, message } = seeds.next();
      const stream = client.open(path);
      stream.on("error", () => undefined);
      stream.write(framed(message).subarray(0, random.below(message.length + 5)));
      if (random.oneIn(2)) await new Promise(setImmediate);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await sleep(10);
    client.close();
  });
  return RESETS;
};

/** Sends many small frames of each type as fast as possible. */
const floods: Attack = async ({ socket, random }) => {
  const kinds = [
    frame(PING, 0, 0, Buffer.alloc(8)),
    frame(SETTINGS, 0, 0, Buffer.alloc(0)),
    frame(DATA, 0, 1, Buffer.alloc(0)),
    frame(PRIORITY, 0, 1, Buffer.from("0000000010", "hex")),
    frame(WINDOW_UPDATE, 0, 0, Buffer.from("00000001", "hex")),
    frame(CONTINUATION, 0, 1, Buffer.alloc(1)),
  ];
  await Promise.all(
    kinds.slice(0, FLOODS).map(async (kind) => {
      const connection = opened({ path: socket });
      connection.write(preface());
      const many = Buffer.concat(Array.from({ length: 100 }, () => kind));
      for (let sent = 0; sent < FLOOD_FRAMES && !connection.destroyed; sent += 100) {
        // Not awaited: a flood does not wait for the daemon to read.
        connection.write(many);
        await new Promise(setImmediate);
      }
      await sleep(random.below(HOLD_MS));
      connection.destroy();
    }),
  );
  return FLOODS * FLOOD_FRAMES;
};

/** Opens idle connections, three times as many as the daemon accepts. */
const idleConnections: Attack = async ({ socket, random }) => {
  const connections = Array.from({ length: IDLE }, () => {
    const connection = opened({ path: socket });
    if (random.oneIn(2)) connection.write(preface());
    return connection;
  });
  await sleep(HOLD_MS);
  for (const connection of connections) connection.destroy();
  return IDLE;
};

export const ATTACKS = {
  "garbled connections": garbledConnections,
  "slow readers": slowReaders,
  "slow senders": slowSenders,
  resets,
  "flood frames": floods,
  "idle connections": idleConnections,
} as const;

/** Opens a connection and ignores its errors, which are expected. */
function opened(where: NetConnectOpts): Socket {
  const connection = connect(where);
  connection.on("error", () => undefined);
  connection.resume();
  return connection;
}

async function inSteps(count: number, atOnce: number, act: () => Promise<void>): Promise<void> {
  for (let done = 0; done < count; done += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - done) }, act));
  }
}
