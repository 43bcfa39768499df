import { IterationCounter } from "./testing/iteration-counter.js";
import { YieldBudget, nextIteration } from "./yield-budget.js";

const workFor = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end;);
};

test("a budget asks for a yield only when its slice is used up", async () => {
  const budget = new YieldBudget();
  expect(budget.spend()).toBeUndefined();
  workFor(10);
  const wait = budget.spend();
  expect(wait).toBeInstanceOf(Promise);
  await wait;
  expect(budget.spend()).toBeUndefined();
});

test("one iteration of the event loop resumes one waiter", async () => {
  const iterations = new IterationCounter();
  const resumed: number[] = [];
  const waiter = async (): Promise<void> => {
    await nextIteration();
    resumed.push(iterations.count);
  };
  await Promise.all(Array.from({ length: 10 }, waiter));
  iterations.end();
  expect(new Set(resumed).size).toBe(10);
});
