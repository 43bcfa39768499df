import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { Turns } from "./turns.js";

/** Stands for a connection. */
interface Peer {
  readonly name: string;
}
const A = { name: "A" };

/** Returns turns whose calls take this time each by their own clock, and the names of the calls that have begun. */
function newTurns(ms = 0.5): {
  turns: Turns<Peer>;
  begin: (connection: string, name: string) => void;
  begun: string[];
} {
  let now = 0;
  const begun: string[] = [];
  const peers: Readonly<Record<string, Peer>> = { a: { name: "a" }, b: { name: "b" }, c: { name: "c" } };
  const turns = new Turns<Peer>(() => now);
  return {
    turns,
    begun,
    begin: (connection, name) => {
      turns.begin(peers[connection] as Peer, () => {
        now += ms;
        begun.push(name);
      });
    },
  };
}

test("calls begin at once while they are few", () => {
  const { begin, begun } = newTurns();
  begin("a", "a1");
  begin("a", "a2");
  expect(begun).toEqual(["a1", "a2"]);
});

test("many calls of one connection begin after what has arrived in an iteration", async () => {
  const { begin, begun } = newTurns(0);
  for (const name of ["a1", "a2", "a3", "a4", "a5", "a6"]) begin("a", name);
  begin("b", "b1");
  expect(begun).toEqual(["a1", "a2", "a3", "a4", "b1"]);
  await nextLoopIteration();
  expect(begun.slice(5)).toEqual(["a5", "a6"]);
});

test("a connection with many calls is busy: each of its next calls waits for its turn, and those of others do not", async () => {
  const { begin, begun } = newTurns(0);
  for (const name of ["a1", "a2", "a3", "a4", "a5"]) begin("a", name);
  await nextLoopIteration();
  begin("a", "a6");
  begin("b", "b1");
  expect(begun.slice(5)).toEqual(["b1"]);
  await nextLoopIteration();
  expect(begun.slice(6)).toEqual(["a6"]);
});

test("connections take turns when there are many calls", async () => {
  const { turns, begin, begun } = newTurns();
  for (const name of ["a1", "a2", "a3", "a4", "a5", "a6"]) begin("a", name);
  for (const name of ["b0", "b1"]) begin("b", name);
  for (const name of ["c0", "c1", "c2"]) begin("c", name);
  expect([begun.splice(2), turns.waitingCalls]).toEqual([["b0", "c0"], 7]);
  expect(begun).toEqual(["a1", "a2"]);
  await nextLoopIteration();
  expect(begun.slice(2)).toEqual(["a3", "b1"]);
  await nextLoopIteration();
  // The last iteration was short, so that more begin.
  expect(begun.slice(4)).toEqual(["c1", "a4", "c2"]);
  for (let iteration = 0; iteration < 5; iteration += 1) await nextLoopIteration();
  expect(begun.slice(7)).toEqual(["a5", "a6"]);
  expect(turns.waitingCalls).toBe(0);
});

test("a call that throws does not keep the others waiting", async () => {
  const { turns, begin, begun } = newTurns();
  expect(() => {
    turns.begin(A, () => {
      throw new Error("the call failed");
    });
  }).toThrow("the call failed");
  begin("a", "next");
  await nextLoopIteration();
  expect(begun).toEqual(["next"]);
});

test("fewer calls begin in each iteration while iterations are long, and more again when they are short", async () => {
  let now = 0;
  const turns = new Turns<Peer>(() => now);
  let count = 0;
  /** Returns the calls that began in each of some iterations. The other work of an iteration takes this long. */
  const iterations = async (restMs: number): Promise<number[]> => {
    const begun: number[] = [];
    for (let iteration = 0; iteration < 20; iteration += 1) {
      const before = count;
      now += restMs;
      await nextLoopIteration();
      begun.push(count - before);
    }
    return begun;
  };
  for (let calls = 0; calls < 1000; calls += 1) {
    turns.begin(A, () => {
      now += 0.5;
      count += 1;
    });
  }
  const long = await iterations(30);
  expect([long[0], long.at(-1)]).toEqual([2, 1]);
  const short = await iterations(1);
  expect(short.at(-1)).toBe(16);
});

test("time in which no call waits makes no iteration long, and the first calls after it are few", async () => {
  let now = 0;
  const turns = new Turns<Peer>(() => now);
  let count = 0;
  const begin = (calls: number): void => {
    for (let left = calls; left > 0; left -= 1) {
      turns.begin(A, () => {
        now += 0.5;
        count += 1;
      });
    }
  };
  for (let burst = 0; burst < 10; burst += 1) {
    begin(4);
    await nextLoopIteration();
    expect(count).toBe(4 * (burst + 1));
    now += 1000;
  }
  begin(100);
  const before = count;
  await nextLoopIteration();
  expect(count - before).toBe(2);
});

test("the first call of a connection begins at once, also while others wait", async () => {
  const { turns, begin, begun } = newTurns();
  for (const name of ["a1", "a2", "a3", "a4"]) begin("a", name);
  expect(turns.waitingCalls).toBe(2);
  begin("b", "b1");
  expect(begun).toEqual(["a1", "a2", "b1"]);
  begin("b", "b2");
  expect(begun).toEqual(["a1", "a2", "b1"]);
  await nextLoopIteration();
  expect(begun.slice(3)).toEqual(["a3", "b2"]);
});
