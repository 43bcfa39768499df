import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../random.js";
import { DifferentialRound } from "./differential-round.js";

const STEPS = 600;
const REPORT_MS = 60_000;

/**
 * The program that `pnpm fuzz:engines --minutes 10 [--seed N]` runs. It applies the same random operations to a store over each
 * engine, with and without incremental checks, and prints the seed, the step and both responses of the first difference. Each
 * round begins with empty stores and has the next seed, so that `--seed` repeats a round at once. The stores are in the temporary
 * folder of the system; with TMPDIR on a file system in memory, flushes cost no time.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
  const first = Number(values.seed ?? Date.now() % 0x7fffffff);
  const minutes = Number(values.minutes ?? "1");
  const start = performance.now();
  const end = start + minutes * 60_000;
  const counts: Record<string, number> = {};
  const report = (rounds: number, differences: number): void => {
    const duration = ((performance.now() - start) / 60_000).toFixed(1);
    const summary = `${rounds} rounds, ${rounds * STEPS} steps, ${differences} differences`;
    console.log(`${duration} minutes: ${summary}, ${JSON.stringify(counts)}`);
  };
  console.log(`seed ${first}`);
  let rounds = 0;
  for (let next = start + REPORT_MS; rounds === 0 || performance.now() < end; rounds += 1) {
    const seed = first + rounds;
    const folder = mkdtempSync(join(tmpdir(), "bolthole-engines-"));
    const round = new DifferentialRound({ random: new Random(seed), folder: join(folder, "stores") });
    try {
      await round.run(STEPS);
    } catch (error) {
      throw new Error(`seed ${seed}, ${(error as Error).message}`, { cause: error });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    for (const [name, count] of Object.entries(round.counts)) counts[name] = (counts[name] ?? 0) + count;
    if (performance.now() < next) continue;
    next = performance.now() + REPORT_MS;
    report(rounds + 1, 0);
  }
  report(rounds, 0);
}

main().catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
