import { setTimeout as sleep } from "node:timers/promises";

/**
 * Calls that are made at a steady rate, whatever became of those before: a server that stops for a while makes all of them
 * wait that fall into the while. Answers their milliseconds. The first failure ends the loop and is thrown.
 */
export async function openLoop(
  work: (call: number) => Promise<void>,
  perSecond: number,
  durationMs: number,
  signal: AbortSignal,
): Promise<number[]> {
  const latencies: number[] = [];
  const calls: Promise<void>[] = [];
  const failed = new AbortController();
  const over = AbortSignal.any([signal, failed.signal]);
  const call = async (index: number): Promise<void> => {
    const begin = performance.now();
    await work(index);
    latencies.push(performance.now() - begin);
  };
  const start = performance.now();
  for (const total = (durationMs * perSecond) / 1000; calls.length < total;) {
    const due = Math.min(total, ((performance.now() - start) * perSecond) / 1000);
    while (calls.length < due) {
      const calling = call(calls.length);
      calling.catch((error: unknown) => {
        failed.abort(error);
      });
      calls.push(calling);
    }
    over.throwIfAborted();
    await sleep(1);
  }
  await Promise.all(calls);
  return latencies;
}

/** The value that so many of a hundred are at most. */
export function percentile(values: readonly number[], hundredths: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil((sorted.length * hundredths) / 100) - 1] ?? Number.NaN;
}
