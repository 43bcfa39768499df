import { EventEmitter } from "node:events";
import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { ConnectionPlaces, UNUSED_MS } from "./connection-places.js";

/** A connection that notes how it was closed. */
class FakeSession extends EventEmitter {
  closed = false;
  destroyed = false;
  readonly log: string[] = [];

  goaway(code: number): void {
    this.log.push(`goaway ${String(code)}`);
  }

  destroy(): void {
    this.log.push("destroy");
    this.destroyed = true;
    this.emit("close");
  }
}

let nowMs: number;
let places: ConnectionPlaces;
beforeEach(() => {
  nowMs = 1000;
  places = new ConnectionPlaces(3, () => nowMs);
});

function open(): FakeSession {
  nowMs += 1;
  const session = new FakeSession();
  places.opened(session as unknown as Http2Session);
  return session;
}

/** Begins a call, and returns the function that ends it. */
function call(session: FakeSession, isStandard = false): () => void {
  nowMs += 1;
  const stream = new EventEmitter();
  places.arrived(session as unknown as Http2Session, stream as unknown as ServerHttp2Stream, isStandard);
  places.used(session as unknown as Http2Session);
  return () => {
    nowMs += 1;
    stream.emit("close");
  };
}

/** The indexes of the connections that received GOAWAY. */
const closedOf = (sessions: readonly FakeSession[]): number[] =>
  sessions.flatMap(({ log }, index) => (log.includes("goaway 0") ? [index] : []));

test("a place is free until all are taken", () => {
  const sessions = [open(), open()];
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([true, []]);
  const third = open();
  third.destroy();
  expect([places.size, places.makeRoom(), closedOf(sessions)]).toEqual([2, true, []]);
});

test("a connection without any call goes first, and the oldest of them", async () => {
  const sessions = [open(), open(), open()];
  call(sessions[0] as FakeSession)();
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([true, [1]]);
  await nextLoopIteration();
  expect(sessions[1]?.log).toEqual(["goaway 0", "destroy"]);
});

test("then the one that was not used for the longest time, and then one with health watches alone", () => {
  const sessions = [open(), open(), open()];
  const [watching, idle, busy] = sessions as [FakeSession, FakeSession, FakeSession];
  call(watching, true);
  call(busy);
  call(idle)();
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([true, [1]]);
  sessions.push(open());
  call(sessions[3] as FakeSession);
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([true, [0, 1]]);
});

test("a connection with an open call keeps its place, and then there is none for a new one", () => {
  const sessions = [open(), open(), open()];
  const ends = sessions.map((session) => call(session));
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([false, []]);
  ends[2]?.();
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([true, [2]]);
});

test("a first call that is not begun yet keeps its connection", () => {
  const sessions = [open(), open(), open()];
  for (const session of sessions) {
    places.arrived(session as unknown as Http2Session, new EventEmitter() as unknown as ServerHttp2Stream, false);
  }
  expect([places.makeRoom(), closedOf(sessions)]).toEqual([false, []]);
  nowMs += 2 * UNUSED_MS;
  places.closeUnused();
  expect(closedOf(sessions)).toEqual([]);
});

test("a connection without any call is closed after a while, and one that had a call is not", () => {
  const sessions = [open(), open(), open()];
  call(sessions[0] as FakeSession)();
  call(sessions[1] as FakeSession, true);
  nowMs += UNUSED_MS;
  places.closeUnused();
  expect([closedOf(sessions), places.size]).toEqual([[2], 2]);
});
