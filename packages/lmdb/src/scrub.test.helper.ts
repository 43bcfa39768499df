import { setImmediate } from "node:timers/promises";
import type { Finding } from "@bolthole/contract";
import { type Clock, type Engine, Scrub } from "@bolthole/core";

export interface ScrubRun {
  readonly found: readonly Finding[];
  readonly faults: readonly unknown[];
  /** Rests between two looks. */
  readonly rests: number;
}

/** Runs passes over an engine, as many as are asked for; `meanwhile` is what others do in each rest. */
export async function scrubbed(
  engine: Engine,
  passes = 1,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<ScrubRun> {
  const found: Finding[] = [];
  const faults: unknown[] = [];
  let [time, rests] = [0, 0];
  const clock: Clock = {
    now: () => time,
    async sleep(ms) {
      await meanwhile();
      await setImmediate();
      time += ms;
      rests += 1;
    },
  };
  const scrub = new Scrub(engine, {
    // So slow that there is a rest after each look.
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
  return { found, faults, rests };
}
