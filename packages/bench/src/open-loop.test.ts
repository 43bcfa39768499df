import { openLoop, percentile } from "./open-loop.js";

const never = new AbortController().signal;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("calls are made while others still wait, and every one of them is timed", async () => {
  let underWay = 0;
  let most = 0;
  const latencies = await openLoop(
    async () => {
      underWay += 1;
      most = Math.max(most, underWay);
      await pause(40);
      underWay -= 1;
    },
    200,
    200,
    never,
  );
  expect(most).toBeGreaterThan(1);
  expect(underWay).toBe(0);
  expect(latencies).toHaveLength(40);
});

test("the first failure ends the loop, and is thrown", async () => {
  const failing = (call: number): Promise<void> =>
    call === 3 ? Promise.reject(new Error("a wrong answer")) : Promise.resolve();
  await expect(openLoop(failing, 1000, 60_000, never)).rejects.toThrow("a wrong answer");
});

test("a percentile is one of the values", () => {
  expect(percentile([5, 1, 4, 2, 3], 50)).toBe(3);
  expect(percentile([5, 1, 4, 2, 3], 99)).toBe(5);
  expect(percentile([], 99)).toBeNaN();
});
