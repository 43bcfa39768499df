import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "./exit-code.js";

/** What `torture all` runs, and each kind's share of the time. */
const SHARES: Readonly<Record<string, number>> = {
  kill: 1,
  power: 1,
  io: 1,
  full: 1,
  "full-tmpfs": 1,
  pause: 1,
  net: 1,
  fuzz: 1,
  linear: 1,
  corrupt: 1,
};

/** A cycle that began in time may end later, on a busy machine much later; a run that does not end at all has failed. */
const GRACE_MS = 180_000;

/** Every kind for a while, one after the other; those that cannot run here say so and do not count. Answers the exit code. */
export async function runAll(minutes: number, seed: number, print: (line: string) => void): Promise<number> {
  const total = Object.values(SHARES).reduce((sum, share) => sum + share, 0);
  const outcomes: string[] = [];
  let code: number = EXIT.fine;
  for (const [kind, share] of Object.entries(SHARES)) {
    const ended = await run(kind, (minutes * share) / total, seed, print);
    outcomes.push(`${kind} ${ended === EXIT.fine ? "passed" : ended === EXIT.cannotRun ? "SKIPPED" : "FAILED"}`);
    if (ended !== EXIT.fine && ended !== EXIT.cannotRun) code = Math.max(code, ended);
  }
  print(`all: ${outcomes.join(", ")}`);
  return code;
}

async function run(kind: string, minutes: number, seed: number, print: (line: string) => void): Promise<number> {
  print(`\n== ${kind}`);
  const args = [join(__dirname, "main.js"), kind, "--minutes", String(minutes), "--seed", String(seed)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  const ended = new Promise<number>((resolve) => {
    child.once("exit", (code) => {
      resolve(code ?? EXIT.failed);
    });
  });
  const settled = new AbortController();
  const late = sleep(minutes * 60_000 + GRACE_MS, EXIT.failed, { signal: settled.signal });
  late.catch(() => undefined);
  const code = await Promise.race([ended, late]);
  settled.abort();
  // An interrupted run ends its daemon and its clients.
  if (child.exitCode === null) child.kill("SIGINT");
  return code;
}
