import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DAEMON } from "../daemon.js";
import type { FaultContext, Setup } from "../fault-run.js";

const POLL_MS = 1;
/** A copy of a small store takes this long at most. */
const COPY_MS = 2_000;
const AFTER_EXCHANGE_MS = 20;
/** A compaction that has not replaced the data file by then is not waited for. */
const EXCHANGE_WITHIN_MS = 60_000;

/**
 * Returns a fault that strikes, in every second cycle, while the daemon compacts its store: during the copy, or when the new data file has
 * just taken its place.
 */
export const duringCompaction =
  (data: string, injectFault: Setup["injectFault"]): Setup["injectFault"] =>
  async (context) => {
    if (context.random.oneIn(2)) return injectFault(context);
    const child = spawn(process.execPath, [DAEMON, "compact", "--data", data], { stdio: "ignore" });
    const ended = once(child, "close");
    await untilSomeMoment(data, child, context);
    try {
      return await injectFault(context);
    } finally {
      // Without its daemon, the command ends by itself.
      await ended;
    }
  };

/** Resolves at a random moment of a compaction, or at its end. */
async function untilSomeMoment(data: string, child: ChildProcess, { random, count }: FaultContext): Promise<void> {
  const file = join(data, "data.mdb");
  const old = statSync(file).ino;
  const isReplaced = (): boolean => statSync(file).ino !== old;
  const waitsForExchange = random.oneIn(2);
  const endsAt = performance.now() + (waitsForExchange ? EXCHANGE_WITHIN_MS : random.below(COPY_MS));
  while (child.exitCode === null && performance.now() < endsAt && !(waitsForExchange && isReplaced()))
    await sleep(POLL_MS);
  if (waitsForExchange) await sleep(random.below(AFTER_EXCHANGE_MS));
  count(isReplaced() ? "after an exchange" : "during a compaction");
}
