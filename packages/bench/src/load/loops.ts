import { createHistogram, performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

/** Thrown when a response is not the expected one. The benchmark then ends with an error. */
export class IncorrectResponseError extends Error {
  override readonly name = "IncorrectResponseError";
}

/** Makes one call and checks its response; throws IncorrectResponseError when the response is wrong. */
export type Work = (caller: number, call: number) => Promise<void>;

export interface Window {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface CallFigures {
  /** Completed calls per second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server process per call. */
  readonly serverCpuUs: number;
  /** CPU time of this process, the load generator, per call. */
  readonly clientCpuUs: number;
}

const LONGEST_CALL_NS = 60_000_000_000;

/**
 * Runs callers that each wait for a response before their next call. Responses within the window count. The first failure
 * ends all callers and is thrown.
 */
export async function closedLoop(
  work: Work,
  callers: number,
  { warmUpMs, measureMs }: Window,
  serverCpuMs: () => number,
  signal: AbortSignal,
): Promise<CallFigures> {
  const latencies = createHistogram({ lowest: 1000, highest: LONGEST_CALL_NS, figures: 3 });
  const phase = { isMeasured: false, isOver: false };
  const call = async (caller: number): Promise<void> => {
    for (let count = 0; !phase.isOver; count += 1) {
      const start = performance.now();
      await work(caller, count);
      if (phase.isMeasured) latencies.record(Math.max(1000, Math.round((performance.now() - start) * 1e6)));
    }
  };
  const calling = Array.from({ length: callers }, (_, caller) => call(caller));
  const failure = new Promise<never>((_, reject) => {
    for (const one of calling) one.catch(reject);
  });
  const reading = (): readonly [number, number, number] => {
    const { user, system } = process.cpuUsage();
    return [performance.now(), serverCpuMs(), user + system];
  };
  try {
    await Promise.race([sleep(warmUpMs, undefined, { signal }), failure]);
    const [startMs, serverStartMs, clientStartUs] = reading();
    phase.isMeasured = true;
    // A short window may see no response on a busy machine. Every call has a deadline, so this loop ends.
    do await Promise.race([sleep(measureMs, undefined, { signal }), failure]);
    while (latencies.count === 0);
    phase.isMeasured = false;
    const [endMs, serverEndMs, clientEndUs] = reading();
    const { count } = latencies;
    return {
      rate: count / ((endMs - startMs) / 1000),
      p50Ms: latencies.percentile(50) / 1e6,
      p99Ms: latencies.percentile(99) / 1e6,
      serverCpuUs: ((serverEndMs - serverStartMs) * 1000) / count,
      clientCpuUs: (clientEndUs - clientStartUs) / count,
    };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    phase.isMeasured = false;
    phase.isOver = true;
    // After an interrupt from the keyboard the servers have ended too, and calls would wait until their deadline.
    if (!signal.aborted) await Promise.allSettled(calling);
  }
}

/**
 * Makes calls at a steady rate without waiting for earlier ones, so that a pause of the server delays every call in it.
 * Returns the milliseconds of each call. The first failure ends the loop and is thrown.
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

/** Returns the smallest value that is not below the given percentage of all values. */
export function percentile(values: readonly number[], hundredths: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil((sorted.length * hundredths) / 100) - 1] ?? Number.NaN;
}
