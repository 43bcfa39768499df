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
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { type ReadHandle, ReadTurns } from "./read-turns.js";

let starts = 0;

/** A connection without a socket. */
class Peer extends EventEmitter implements ReadHandle {
  isRead = true;
  starts = 0;
  writeQueueSize = 0;
  /** libuv reads those first whose reads began first. */
  order = (starts += 1);

  readStart(): void {
    this.isRead = true;
    this.starts += 1;
    this.order = starts += 1;
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
      turns.opened(peer as unknown as Http2Session, peer);
      return peer;
    },
    work: (peer, ms) => {
      for (let spent = 0; spent < ms; spent += 1) {
        turns.arrived(peer as unknown as Http2Session);
        now += 1;
      }
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

test("after a long poll the light connections are read first, then those that wait, then all", async () => {
  const { open, work } = newTurns();
  const peers = { light: open(), fresh: open(), heavy: open() };
  work(peers.light, 1);
  await nextLoopIteration();
  work(peers.heavy, 20);
  expect(readOf(peers)).toBe("");
  const seen: string[] = [];
  for (let poll = 0; poll < 3; poll += 1) {
    await nextLoopIteration();
    seen.push(readOf(peers));
  }
  expect(seen).toEqual(["light", "light fresh", "light fresh heavy"]);
});

test("heavy connections do not keep each other or the light one out", async () => {
  const { open, work } = newTurns();
  const heavy = Array.from({ length: 30 }, open);
  const light = open();
  work(light, 1);
  await nextLoopIteration();
  const worked = new Map(heavy.map((peer) => [peer, 0]));
  let longest = 0;
  let waited = 0;
  for (let poll = 0; poll < 600; poll += 1) {
    // Each poll reads one piece of each connection, in their order, until the reads are stopped.
    for (const peer of heavy.sort((a, b) => a.order - b.order)) {
      if (!peer.isRead) continue;
      worked.set(peer, (worked.get(peer) ?? 0) + 1);
      work(peer, 20);
    }
    waited = light.isRead ? 0 : waited + 1;
    longest = Math.max(longest, waited);
    await nextLoopIteration();
  }
  expect(longest).toBeLessThan(2);
  expect(Math.min(...worked.values())).toBeGreaterThan(3);
});

test("a connection that was opened meanwhile waits for its turn, and a closed one is forgotten", async () => {
  const { open, work } = newTurns();
  const heavy = open();
  work(heavy, 20);
  await nextLoopIteration();
  const late = open();
  expect(late.isRead).toBe(false);
  heavy.emit("close");
  for (let poll = 0; poll < 3; poll += 1) await nextLoopIteration();
  expect([late.isRead, heavy.starts]).toEqual([true, 0]);
});

test("the reads of a connection that writes are left to Node, which begins them after the write", async () => {
  const { open, work } = newTurns();
  const peer = open();
  peer.writeQueueSize = 10;
  work(peer, 20);
  for (let poll = 0; poll < 4; poll += 1) await nextLoopIteration();
  expect(peer.starts).toBe(0);
});

/** The calls of the real connection, each with headers of about 1 KB. */
const CALLS = 1_000;
const HEADER_BYTES = 1_000;
/** The most that libuv reads at once. */
const PIECE_BYTES = 64 * 1024;

// Fails with a version of Node that keeps the handle of a socket elsewhere, and without turns.
test("one poll reads one piece of a real connection that is too long, and all of it arrives", async () => {
  let now = 0;
  const turns = new ReadTurns(() => (now += 1));
  const perPoll = [0];
  const server = createServer();
  server.on("session", (session) => {
    turns.opened(session);
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    turns.arrived(stream.session as Http2Session);
    perPoll.push((perPoll.pop() ?? 0) + 1);
    stream.on("error", () => undefined);
    stream.respond({}, { endStream: true });
    setImmediate(() => perPoll.push(0));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const session: ClientHttp2Session = connect(`http://127.0.0.1:${String(port)}`);
  try {
    await once(session, "remoteSettings");
    const ends = Array.from({ length: CALLS }, () => {
      const padding = randomBytes(HEADER_BYTES / 2).toString("hex");
      // A sensitive header is sent as it is, not as a reference to an earlier one.
      const stream = session.request({ ":path": "/", padding, [sensitiveHeaders]: ["padding"] }, { endStream: true });
      stream.resume();
      return once(stream, "end");
    });
    await Promise.all(ends);
  } finally {
    session.destroy();
    server.close();
  }
  expect(perPoll.reduce((sum, count) => sum + count)).toBe(CALLS);
  expect(Math.max(...perPoll)).toBeLessThan((2 * PIECE_BYTES) / HEADER_BYTES);
});
