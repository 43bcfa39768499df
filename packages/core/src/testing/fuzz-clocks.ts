import { ClockSimulation, type SimulatedStorage } from "./clock-simulation.js";
import { Random } from "./random.js";

const STEPS = 2000;
const MAX_COUNTS = [5, 30, 200] as const;

export interface FuzzClocksOptions {
  readonly seed: number;
  readonly minutes: number;
  /** One step in this many is a restart, a backup or a restore. */
  readonly rareSteps: number;
  /** Creates empty storage, and removes that of the simulation before. */
  createStorage(): Promise<SimulatedStorage>;
  report(text: string): void;
}

/** Runs one simulation of jumping clocks after the other. Rejects with the seed and the step of the first one that fails. */
export async function fuzzClocks({
  seed,
  minutes,
  rareSteps,
  createStorage,
  report,
}: FuzzClocksOptions): Promise<void> {
  const end = performance.now() + minutes * 60_000;
  const counts: Record<string, number> = {};
  let simulations = 0;
  for (let next = performance.now() + 30_000; performance.now() < end; simulations += 1) {
    const random = new Random(seed + simulations);
    const maxCount = random.pick(MAX_COUNTS);
    const simulation = new ClockSimulation({ random, storage: await createStorage(), maxCount, rareSteps });
    try {
      await simulation.run(STEPS);
    } catch (cause) {
      throw new Error(`seed ${String(seed + simulations)}: ${(cause as Error).message}`, { cause });
    }
    for (const [kind, count] of Object.entries(simulation.counts)) counts[kind] = (counts[kind] ?? 0) + count;
    if (performance.now() < next) continue;
    next = performance.now() + 30_000;
    report(`${String(simulations + 1)} simulations, ${JSON.stringify(counts)}`);
  }
  report(
    `done: ${String(simulations)} simulations of ${String(STEPS)} steps, ${JSON.stringify(counts)}, no problem found`,
  );
}
