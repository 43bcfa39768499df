import { randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import {
  type ClientHttp2Session,
  type Http2Session,
  type ServerHttp2Stream,
  connect,
  createServer,
  sensitiveHeaders,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { type ReadHandle, ReadTurns } from "./read-turns.js";

let startsOfAll = 0;

/** A connection without a socket. */
class Peer extends EventEmitter implements ReadHandle {
  isRead = true;
  starts = 0;
  writeQueueSize = 0;
  /** Where the model of a poll has it: behind those whose reads began before. */
  order = 0;

  readStart(): void {
    this.isRead = true;
    this.starts += 1;
    startsOfAll += 1;
    this.order = startsOfAll;
  }

  readStop(): void {
    this.isRead = false;
  }
}

/** Opens connections to turns whose clock moves only when a frame is worked on. */
function newTurns(): { open: () => Peer; work: (peer: Peer, ms: number) => void } {
  let now = 1000;
  const turns = new ReadTurns(() => now);
  return {
    open: () => {
      const peer = new Peer();
      turns.connected(peer as unknown as Http2Session, peer);
      return peer;
    },
    work: (peer, ms) => {
      const stream = new Readable({ read: () => undefined });
      turns.opened(peer as unknown as Http2Session, stream);
      for (let spent = 1; spent < ms; spent += 1) {
        now += 1;
        stream.push("part");
      }
      now += 1;
    },
  };
}

const readOf = (peers: Readonly<Record<string, Peer>>): string =>
  Object.entries(peers)
    .filter(([, { isRead }]) => isRead)
    .map(([name]) => name)
    .join(" ");

test("all connections are read while their frames take little time", async () => {
  const { open, work } = newTurns();
  const peers = { a: open(), b: open() };
  for (let poll = 0; poll < 5; poll += 1) {
    work(peers.a, 2);
    work(peers.b, 2);
    expect(readOf(peers)).toBe("a b");
    await nextLoopIteration();
  }
  expect([peers.a.starts, peers.b.starts]).toEqual([0, 0]);
});

test("in a long poll only connections that send little are read, and in a very long one none", async () => {
  const { open, work } = newTurns();
  const peers = { light: open(), fresh: open(), busy: open() };
  work(peers.light, 1);
  await nextLoopIteration();
  work(peers.busy, 5);
  expect(readOf(peers)).toBe("light fresh busy");
  work(peers.busy, 5);
  expect(readOf(peers)).toBe("light");
  await nextLoopIteration();
  expect(readOf(peers)).toBe("light fresh");
  await nextLoopIteration();
  expect(readOf(peers)).toBe("light fresh busy");
  work(peers.busy, 10);
  work(peers.light, 15);
  expect(readOf(peers)).toBe("");
  await nextLoopIteration();
  expect(readOf(peers)).toBe("fresh");
});

const MANY = 40;

// A piece of 10 ms makes a poll long, and one of 25 ms makes it very long.
test.each([10, 25])(
  "busy connections with pieces of %d ms keep neither each other out, nor those that send little",
  async (ms) => {
    const { open, work } = newTurns();
    const busy = Array.from({ length: MANY }, open);
    const light = Array.from({ length: 4 }, open);
    for (const peer of light) work(peer, 1);
    await nextLoopIteration();
    const worked = new Map(busy.map((peer) => [peer, 0]));
    /** For each of the light ones the pieces of others since it was read. */
    const waited = new Map(light.map((peer) => [peer, 0]));
    let longest = 0;
    for (let poll = 0; poll < 20 * MANY; poll += 1) {
      for (const peer of [...busy, ...light].sort((a, b) => a.order - b.order)) {
        if (!peer.isRead) continue;
        if (waited.has(peer)) {
          longest = Math.max(longest, waited.get(peer) ?? 0);
          waited.set(peer, 0);
          work(peer, 1);
          continue;
        }
        worked.set(peer, (worked.get(peer) ?? 0) + 1);
        for (const [other, pieces] of waited) waited.set(other, pieces + 1);
        work(peer, ms);
      }
      await nextLoopIteration();
    }
    expect(longest).toBeLessThanOrEqual(2);
    expect(Math.min(...worked.values())).toBeGreaterThan(3);
  },
);

test("the reads of a closed connection do not begin again", async () => {
  const { open, work } = newTurns();
  const [closed, busy] = [open(), open()];
  work(busy, 10);
  expect(closed.isRead).toBe(false);
  closed.emit("close");
  for (let poll = 0; poll < 4; poll += 1) await nextLoopIteration();
  expect([closed.starts, busy.starts]).toEqual([0, 1]);
  // None waits, so that the busy one does not rest.
  work(busy, 10);
  await nextLoopIteration();
  expect(busy.isRead).toBe(true);
});

test("the reads of a connection that writes are left to Node, which begins them after the write", async () => {
  const { open, work } = newTurns();
  const peer = open();
  peer.writeQueueSize = 10;
  work(peer, 20);
  for (let poll = 0; poll < 4; poll += 1) await nextLoopIteration();
  expect(peer.starts).toBe(0);
  // Node has begun to read it, and it is busy in another long poll.
  work(open(), 10);
  peer.isRead = true;
  work(peer, 1);
  expect(peer.isRead).toBe(false);
});

/** The calls of a real connection, each with headers of about 1 KB. */
const CALLS = 1_000;
const HEADER_BYTES = 1_000;
/** The most that libuv reads at once. */
const PIECE_BYTES = 64 * 1024;

// Fails with a version of Node that keeps the handle of a socket elsewhere, and without turns.
test("one poll reads one piece of real connections, which take turns, and all of it arrives", async () => {
  let now = 0;
  const turns = new ReadTurns(() => (now += 1));
  /** The connection of each call, for each poll. */
  const polls: number[][] = [[]];
  const sessions: Http2Session[] = [];
  const server = createServer();
  server.on("session", (session) => {
    sessions.push(session);
    turns.connected(session);
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    const { session } = stream;
    turns.opened(session as Http2Session, stream);
    polls.at(-1)?.push(sessions.indexOf(session as Http2Session));
    stream.on("error", () => undefined);
    stream.respond({}, { endStream: true });
    setImmediate(() => polls.push([]));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const clients = [0, 1].map(() => connect(`http://127.0.0.1:${String(port)}`));
  try {
    await Promise.all(clients.map((client) => once(client, "remoteSettings")));
    const ends = Array.from({ length: CALLS }, (_, index) => {
      const padding = randomBytes(HEADER_BYTES / 2).toString("hex");
      // A sensitive header is sent as it is, not as a reference to an earlier one.
      const headers = { ":path": "/", padding, [sensitiveHeaders]: ["padding"] };
      const stream = (clients[index % 2] as ClientHttp2Session).request(headers, { endStream: true });
      stream.resume();
      return once(stream, "end");
    });
    await Promise.all(ends);
  } finally {
    for (const client of clients) client.destroy();
    server.close();
  }
  const read = polls.filter((calls) => calls.length > 0);
  expect(read.flat()).toHaveLength(CALLS);
  expect(Math.max(...read.map((calls) => calls.length))).toBeLessThan((2 * PIECE_BYTES) / HEADER_BYTES);
  // When one has sent everything, the other is not far behind.
  const calls = read.flat();
  const firstEnd = Math.min(...[0, 1].map((one) => calls.lastIndexOf(one)));
  const behind = calls.slice(firstEnd + 1).length;
  expect(behind).toBeLessThan(CALLS / 4);
});
