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
  let iterations = 0;
  let isCounting = true;
  const count = (): void => {
    iterations += 1;
    if (isCounting) setImmediate(count);
  };
  setImmediate(count);
  const resumed: number[] = [];
  const waiter = async (): Promise<void> => {
    await nextIteration();
    resumed.push(iterations);
  };
  await Promise.all(Array.from({ length: 10 }, waiter));
  isCounting = false;
  expect(new Set(resumed).size).toBe(10);
});
