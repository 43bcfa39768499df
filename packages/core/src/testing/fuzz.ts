import { parseArgs } from "node:util";
import { fuzzCase, fuzzSeeds } from "./fuzz-case.js";
import { Random } from "./random.js";

/**
 * The program that `pnpm fuzz --minutes 10 [--seed N]` runs. It checks randomly changed documents for that time, and prints
 * the first one whose check fails, does not end, or reads a message in two ways.
 */
function main(): void {
  const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
  const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
  const end = Date.now() + Number(values.minutes ?? "1") * 60_000;
  const random = new Random(seed);
  const seeds = fuzzSeeds();
  console.log(`seed ${String(seed)}, ${String(seeds.length)} documents to start from`);
  let count = 0;
  let peak = 0;
  let next = 0;
  while (Date.now() < end) {
    const { problem, seed: found } = fuzzCase(seeds, random);
    count++;
    if (problem !== undefined) {
      console.error(`case ${String(count)} of seed ${String(seed)}: ${problem}`);
      const { incoming, previous, commit } = found;
      console.error(
        JSON.stringify({ incoming: incoming.toString("base64"), previous: previous?.toString("base64"), commit }),
      );
      process.exitCode = 1;
      return;
    }
    peak = Math.max(peak, count % 256 === 0 ? process.memoryUsage().rss : 0);
    if (Date.now() > next) {
      console.log(`${String(count)} cases, at most ${String(Math.round(peak / 1e6))} MB of memory`);
      next = Date.now() + 30_000;
    }
  }
  console.log(`done: ${String(count)} cases, at most ${String(Math.round(peak / 1e6))} MB of memory, no problem found`);
}

main();
