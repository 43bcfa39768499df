import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { LEAST_BYTES, LONGEST_MS, MOST_BYTES, ReadTurns, type Reader, SLICE_MS } from "./read-turns.js";

const KIBIBYTE = 1024;

/** Turns by a clock that moves only when bytes are read, and the parts that were read in this iteration of the event loop. */
class Model {
  now = 1000;
  readonly turns = new ReadTurns(() => this.now);
  private parts: { readonly peer: Peer; readonly bytes: number; readonly ms: number }[] = [];

  note(peer: Peer, bytes: number, ms: number): void {
    this.now += ms;
    this.parts.push({ peer, bytes, ms });
  }

  /** Ends the iteration. Returns its parts, and those of the immediates after it. */
  async endIteration(): Promise<Model["parts"]> {
    await nextLoopIteration();
    return this.parts.splice(0);
  }
}

const peers: Peer[] = [];

afterEach(() => {
  // Their turns would go on.
  for (const peer of peers.splice(0)) peer.left = 0;
});

/** A connection whose bytes take a time. */
class Peer {
  readonly reader: Reader;
  left = 0;
  isPaused = false;

  constructor(
    private readonly model: Model,
    private readonly msOfKibibyte: number,
  ) {
    peers.push(this);
    this.reader = model.turns.join((most) => {
      const bytes = Math.min(most, this.left);
      this.left -= bytes;
      model.note(this, bytes, (bytes / KIBIBYTE) * this.msOfKibibyte);
      if (this.left === 0) return "empty";
      return this.isPaused ? "paused" : "more";
    });
  }

  send(bytes: number): void {
    this.left += bytes;
    this.reader.ready();
  }
}

const msOf = (parts: readonly { readonly ms: number }[]): number => parts.reduce((sum, { ms }) => sum + ms, 0);

test("what takes little time is read at once", () => {
  const model = new Model();
  const peer = new Peer(model, 0.01);
  peer.send(KIBIBYTE);
  expect(peer.left).toBe(0);
});

test("the parts of a connection become smaller while they take long, and larger when they do not", async () => {
  const model = new Model();
  const [slow, fast] = [new Peer(model, 3), new Peer(model, 0.001)];
  slow.send(10 * KIBIBYTE);
  const parts = [];
  for (let iteration = 0; iteration < 20; iteration += 1) parts.push(...(await model.endIteration()));
  expect(parts.map(({ bytes }) => bytes / KIBIBYTE)).toEqual([4, 2, ...Array<number>(4).fill(1)]);
  fast.send(100 * KIBIBYTE);
  const sizes = (await model.endIteration()).map(({ bytes }) => bytes / KIBIBYTE);
  expect(sizes.slice(0, 4)).toEqual([4, 8, 16, 16]);
  expect([LEAST_BYTES, MOST_BYTES]).toEqual([KIBIBYTE, 16 * KIBIBYTE]);
});

const MANY = 40;
/** A part of the least size takes this long, and so is the longest one after the first parts. */
const PART_MS = 1;

/** Opens connections that always have more, and some that have sent little. */
async function newCrowd(): Promise<{ model: Model; busy: Peer[]; light: Peer[] }> {
  const model = new Model();
  const light = Array.from({ length: 4 }, () => new Peer(model, PART_MS));
  for (const peer of light) peer.send(100);
  const busy = Array.from({ length: MANY }, () => new Peer(model, PART_MS));
  for (const peer of busy) peer.send(10_000 * KIBIBYTE);
  // Until all have the smallest parts.
  for (let iteration = 0; iteration < 6 * MANY; iteration += 1) await nextLoopIteration();
  await model.endIteration();
  return { model, busy, light };
}

test("busy connections are read for one slice of each iteration, and all as often", async () => {
  const { model, busy } = await newCrowd();
  const counts = new Map(busy.map((peer) => [peer, 0]));
  let longest = 0;
  for (let iteration = 0; iteration < 10 * MANY; iteration += 1) {
    const parts = await model.endIteration();
    longest = Math.max(longest, msOf(parts));
    for (const { peer } of parts) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  }
  expect(longest).toBeLessThanOrEqual(SLICE_MS + PART_MS);
  const [least, most] = [Math.min(...counts.values()), Math.max(...counts.values())];
  expect(least).toBeGreaterThan(0);
  expect(most - least).toBeLessThanOrEqual(1);
});

test("a connection that sends little waits for one part of a busy one, and keeps no busy one out", async () => {
  const { model, light } = await newCrowd();
  for (let iteration = 0; iteration < 50; iteration += 1) {
    for (const peer of light) peer.send(KIBIBYTE / 2);
    const parts = await model.endIteration();
    const isLight = parts.map(({ peer }) => light.includes(peer));
    expect(isLight.filter(Boolean)).toHaveLength(light.length);
    expect(isLight.indexOf(true)).toBeLessThanOrEqual(1);
    expect(isLight.lastIndexOf(true) - isLight.indexOf(true)).toBe(light.length - 1);
    expect(isLight.includes(false)).toBe(true);
  }
});

test("many connections that send little share a longer time, and one busy part is read in each iteration", async () => {
  const { model, busy } = await newCrowd();
  const crowd = Array.from({ length: 100 }, () => new Peer(model, PART_MS));
  for (const peer of crowd) peer.send(1);
  for (let iteration = 0; iteration < 2 * MANY; iteration += 1) await model.endIteration();
  for (const peer of crowd) peer.send(KIBIBYTE);
  // What was read as it was sent, and the next iteration.
  await model.endIteration();
  let iterations = 0;
  while (crowd.some(({ left }) => left > 0) && iterations < 100) {
    const parts = await model.endIteration();
    iterations += 1;
    expect(msOf(parts)).toBeLessThanOrEqual(LONGEST_MS + 2 * PART_MS);
    expect(parts.filter(({ peer }) => busy.includes(peer))).not.toHaveLength(0);
  }
  expect(iterations).toBeLessThan(10);
});

test("a connection that HTTP/2 does not read has no turn until it is ready again, and stays busy", async () => {
  const { model, light } = await newCrowd();
  const peer = new Peer(model, PART_MS);
  peer.send(1);
  for (let iteration = 0; iteration < 2 * MANY; iteration += 1) await model.endIteration();
  peer.isPaused = true;
  peer.send(100 * KIBIBYTE);
  const { left } = peer;
  for (let iteration = 0; iteration < 2 * MANY; iteration += 1) await model.endIteration();
  expect(peer.left).toBe(left);
  peer.isPaused = false;
  peer.reader.ready();
  for (const other of light) other.send(1);
  const parts = await model.endIteration();
  expect(parts.findIndex((part) => part.peer === light[0])).toBeLessThanOrEqual(1);
  for (let iteration = 0; iteration < 2 * MANY; iteration += 1) await model.endIteration();
  expect(peer.left).toBeLessThan(left);
});

test("a part that throws does not keep the others waiting", async () => {
  const model = new Model();
  const broken = model.turns.join(() => {
    throw new Error("the frame is broken");
  });
  const peer = new Peer(model, PART_MS);
  expect(() => {
    broken.ready();
  }).toThrow("the frame is broken");
  peer.send(1);
  await nextLoopIteration();
  expect(peer.left).toBe(0);
});
