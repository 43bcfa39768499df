import { closedLoop, openLoop, percentile } from "./loops.js";

const never = new AbortController().signal;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("an open loop starts calls while others wait, and measures each of them", async () => {
  let inProgress = 0;
  let most = 0;
  const latencies = await openLoop(
    async () => {
      inProgress += 1;
      most = Math.max(most, inProgress);
      await pause(40);
      inProgress -= 1;
    },
    200,
    200,
    never,
  );
  expect(most).toBeGreaterThan(1);
  expect(inProgress).toBe(0);
  expect(latencies).toHaveLength(40);
});

test("the first failure ends an open loop and is thrown", async () => {
  const failing = (call: number): Promise<void> =>
    call === 3 ? Promise.reject(new Error("an incorrect response")) : Promise.resolve();
  await expect(openLoop(failing, 1000, 60_000, never)).rejects.toThrow("an incorrect response");
});

test("a percentile is one of the values", () => {
  expect(percentile([5, 1, 4, 2, 3], 50)).toBe(3);
  expect(percentile([5, 1, 4, 2, 3], 99)).toBe(5);
  expect(percentile([], 99)).toBeNaN();
});

describe("a closed loop", () => {
  const window = { warmUpMs: 20, measureMs: 200 };
  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const never = new AbortController().signal;

  test("never has more calls in progress than callers, and counts the calls of the window", async () => {
    let inProgress = 0;
    let most = 0;
    let calls = 0;
    const work = async (): Promise<void> => {
      inProgress += 1;
      most = Math.max(most, inProgress);
      await pause(5);
      inProgress -= 1;
      calls += 1;
    };
    const { rate, p50Ms, p99Ms } = await closedLoop(work, 4, window, () => 0, never);
    expect(most).toBe(4);
    expect(inProgress).toBe(0);
    expect(p50Ms).toBeGreaterThan(4);
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms);
    expect(rate * (window.measureMs / 1000)).toBeLessThanOrEqual(calls);
  });

  test("ends all callers at the first failure and throws it", async () => {
    let calls = 0;
    const work = async (caller: number): Promise<void> => {
      await pause(1);
      calls += 1;
      if (caller === 2) throw new Error("an incorrect response");
    };
    await expect(closedLoop(work, 4, window, () => 0, never)).rejects.toThrow("an incorrect response");
    const before = calls;
    await pause(20);
    expect(calls).toBe(before);
  });

  test("ends when it is interrupted", async () => {
    const interrupted = new AbortController();
    const running = closedLoop(
      () => pause(1),
      2,
      { warmUpMs: 20, measureMs: 60_000 },
      () => 0,
      interrupted.signal,
    );
    setTimeout(() => {
      interrupted.abort();
    }, 40);
    await expect(running).rejects.toThrow("abort");
  });
});
