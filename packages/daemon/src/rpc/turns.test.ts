import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { Turns } from "./turns.js";

/** Returns turns whose calls take 4 ms each by their own clock, and the names of the calls that have begun. */
function newTurns(): { turns: Turns<string>; begin: (connection: string, name: string) => void; begun: string[] } {
  let now = 0;
  const begun: string[] = [];
  const turns = new Turns<string>(() => now);
  return {
    turns,
    begun,
    begin: (connection, name) => {
      turns.begin(connection, () => {
        now += 4;
        begun.push(name);
      });
    },
  };
}

test("few calls begin in one iteration, after what has arrived in it", async () => {
  const { begin, begun } = newTurns();
  begin("a", "a1");
  begin("a", "a2");
  expect(begun).toEqual([]);
  await nextLoopIteration();
  expect(begun).toEqual(["a1", "a2"]);
});

test("connections take turns when there are many calls", async () => {
  const { turns, begin, begun } = newTurns();
  for (const name of ["a1", "a2", "a3", "a4", "a5", "a6"]) begin("a", name);
  begin("b", "b1");
  begin("c", "c1");
  begin("c", "c2");
  const perIteration: string[][] = [];
  for (let iteration = 0; iteration < 6; iteration += 1) {
    const before = begun.length;
    await nextLoopIteration();
    perIteration.push(begun.slice(before));
  }
  expect(perIteration).toEqual([["a1", "b1"], ["c1", "a2"], ["c2", "a3"], ["a4", "a5"], ["a6"], []]);
  expect(turns.waitingCalls).toBe(0);
});
