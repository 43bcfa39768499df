import { closedLoop } from "./closed-loop.js";
import { median } from "./rounds.js";

describe("median", () => {
  test("is the middle value, or the mean of the two middle ones", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([7])).toBe(7);
    expect(median([])).toBeNaN();
  });
});

describe("a closed loop", () => {
  const window = { warmUpMs: 20, measureMs: 200 };
  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const never = new AbortController().signal;

  test("never has more calls under way than callers, and counts those of the window", async () => {
    let underWay = 0;
    let most = 0;
    let calls = 0;
    const work = async (): Promise<void> => {
      underWay += 1;
      most = Math.max(most, underWay);
      await pause(5);
      underWay -= 1;
      calls += 1;
    };
    const { rate, p50Ms, p99Ms } = await closedLoop(work, 4, window, () => 0, never);
    expect(most).toBe(4);
    expect(underWay).toBe(0);
    expect(p50Ms).toBeGreaterThan(4);
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms);
    expect(rate * (window.measureMs / 1000)).toBeLessThanOrEqual(calls);
  });

  test("ends all callers at the first failure, and throws it", async () => {
    let calls = 0;
    const work = async (caller: number): Promise<void> => {
      await pause(1);
      calls += 1;
      if (caller === 2) throw new Error("a wrong answer");
    };
    await expect(closedLoop(work, 4, window, () => 0, never)).rejects.toThrow("a wrong answer");
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
