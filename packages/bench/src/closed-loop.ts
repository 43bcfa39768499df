import { performance, createHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

/** One call, checked by its maker: whoever gets a wrong answer throws. */
export type Work = (caller: number, call: number) => Promise<void>;

export interface Window {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface Measured {
  /** Calls answered in a second. */
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server process for one call. */
  readonly serverCpuUs: number;
  /** CPU time of this process, the load generator, for one call. */
  readonly clientCpuUs: number;
}

const LONGEST_CALL_NS = 60_000_000_000;

/**
 * Callers that each wait for an answer before they ask again. Answers that come inside the window count. The first
 * failure ends all callers and is thrown.
 */
export async function closedLoop(
  work: Work,
  callers: number,
  { warmUpMs, measureMs }: Window,
  serverCpuMs: () => number,
  signal: AbortSignal,
): Promise<Measured> {
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
    // On a busy machine a short window may see no answer; every call has a deadline, so one comes.
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
    // Interrupted by the keyboard, the servers are gone as well, and calls would wait for them until their deadline.
    if (!signal.aborted) await Promise.allSettled(calling);
  }
}
