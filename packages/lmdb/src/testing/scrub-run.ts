import { setImmediate } from "node:timers/promises";
import type { Finding } from "@bolthole/contract";
import { type Engine, Scrub, type ScrubClock } from "@bolthole/core";

export interface ScrubRun {
  readonly found: readonly Finding[];
  readonly faults: readonly unknown[];
  /** The number of pauses of the scrub. */
  readonly pauses: number;
}

/** Runs scrub passes over an engine. `duringPause` is called in each pause of the scrub. */
export async function runScrub(
  engine: Engine,
  passes = 1,
  duringPause: () => Promise<void> = () => Promise.resolve(),
): Promise<ScrubRun> {
  const found: Finding[] = [];
  const faults: unknown[] = [];
  let [time, pauses] = [0, 0];
  const clock: ScrubClock = {
    now: () => time,
    monotonic: () => time,
    async sleep(ms) {
      await duringPause();
      await setImmediate();
      time += ms;
      pauses += 1;
    },
  };
  const scrub = new Scrub(engine, {
    // So slow that the scrub pauses after each read.
    bytesPerSecond: 1000,
    intervalMs: 1000,
    memory: { load: () => undefined, save: () => undefined },
    onFinding: (finding) => found.push(finding),
    onFault: (error) => faults.push(error),
    clock,
  });
  scrub.start();
  while (scrub.status().passes < passes) await setImmediate();
  await scrub.stop();
  return { found, faults, pauses };
}
