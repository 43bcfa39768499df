import { EventEmitter } from "node:events";
import type { Http2Session } from "node:http2";
import { setImmediate as nextLoopIteration, setTimeout as sleep } from "node:timers/promises";
import { ByteBudget } from "./byte-budget.js";
import { ResponseBudget, type TakenMemory } from "./response-budget.js";

const MESSAGE = 100_000;
/** Returns a session that can only be told apart from others. */
const newSession = (): Http2Session => new EventEmitter() as Http2Session;

/** Returns a budget for this number of messages of all connections, and of one connection. */
const newBudget = (total: number, connection = total, stallMs?: number): ResponseBudget =>
  new ResponseBudget(
    new ByteBudget({ total: total * MESSAGE, connection: connection * MESSAGE, reserve: 2 * MESSAGE }),
    stallMs,
  );

/** Takes memory for messages, and appends the name of each that has it to `taken`. */
function takeEach(
  budget: ResponseBudget,
  session: Http2Session,
  names: readonly string[],
  taken: string[],
): Promise<TakenMemory>[] {
  return names.map(async (name) => {
    const memory = await budget.take(session, MESSAGE, {});
    taken.push(name);
    return memory as TakenMemory;
  });
}

test("a message waits until another one was received", async () => {
  const budget = newBudget(1);
  const taken: string[] = [];
  const [first, second] = takeEach(budget, newSession(), ["first", "second"], taken) as [
    Promise<TakenMemory>,
    Promise<TakenMemory>,
  ];
  await nextLoopIteration();
  expect([taken, budget.bytes]).toEqual([["first"], MESSAGE]);
  const memory = await first;
  memory.giveBack();
  memory.giveBack();
  await second;
  expect([taken, budget.bytes]).toEqual([["first", "second"], MESSAGE]);
});

test("the connections of waiting messages take turns", async () => {
  const budget = newBudget(1);
  const taken: string[] = [];
  const many = takeEach(budget, newSession(), ["a1", "a2", "a3", "a4"], taken);
  const few = takeEach(budget, newSession(), ["b1"], taken);
  for (const memory of [many[0], many[1], few[0], many[2], many[3]]) (await memory)?.giveBack();
  expect(taken).toEqual(["a1", "a2", "b1", "a3", "a4"]);
  expect(budget.bytes).toBe(0);
});

test("a connection above its share waits while another one takes memory", async () => {
  const budget = newBudget(4, 1);
  const taken: string[] = [];
  const [first, second] = takeEach(budget, newSession(), ["a1", "a2"], taken);
  await takeEach(budget, newSession(), ["b1"], taken)[0];
  expect(taken).toEqual(["a1", "b1"]);
  (await first)?.giveBack();
  await second;
  expect(taken).toEqual(["a1", "b1", "a2"]);
});

test("a small message does not wait for large ones", async () => {
  const budget = newBudget(1);
  await budget.take(newSession(), MESSAGE, {});
  expect(budget.takeNow(newSession(), MESSAGE)).toBeUndefined();
  expect(budget.takeNow(newSession(), 1000)).toBeDefined();
});

test("a wait ends when it is cancelled, and the next message has its place", async () => {
  const budget = newBudget(1);
  const session = newSession();
  const first = await budget.take(session, MESSAGE, {});
  const wait: { cancel?: () => void } = {};
  const cancelled = budget.take(session, MESSAGE, wait);
  const next = budget.take(session, MESSAGE, {});
  wait.cancel?.();
  expect(await cancelled).toBeUndefined();
  first?.giveBack();
  expect(await next).toBeDefined();
});

test("a client that receives nothing is cut off only while others wait", async () => {
  const budget = newBudget(1, 1, 1);
  const held = await budget.take(newSession(), MESSAGE, {});
  const cutOff = jest.fn(() => held?.giveBack());
  budget.noteStall(cutOff);
  const received = jest.fn();
  budget.noteStall(received)();
  await sleep(600);
  expect(cutOff).not.toHaveBeenCalled();
  expect(await budget.take(newSession(), MESSAGE, {})).toBeDefined();
  expect(cutOff).toHaveBeenCalled();
  expect(received).not.toHaveBeenCalled();
});

test("memory that is used already is counted above the limits", async () => {
  const budget = newBudget(1);
  const memory = await budget.take(newSession(), MESSAGE, {});
  memory?.growTo(5 * MESSAGE);
  expect(budget.bytes).toBe(5 * MESSAGE);
  budget.takeNow(newSession(), MESSAGE, true);
  expect(budget.bytes).toBe(6 * MESSAGE);
});

test("a client that cannot be cut off does not keep the next one from it", async () => {
  const budget = newBudget(1, 1, 1);
  const held = await budget.take(newSession(), MESSAGE, {});
  const stuck = jest.fn();
  budget.noteStall(stuck);
  budget.noteStall(() => held?.giveBack());
  expect(await budget.take(newSession(), MESSAGE, {})).toBeDefined();
  expect(stuck).toHaveBeenCalledTimes(1);
});
