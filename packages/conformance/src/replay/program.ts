import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import type { StoreFactory } from "../store-factory.js";
import { DaemonStores, type EngineName, type ReplayParts, hasDataOf, runningDaemon } from "./daemon-stores.js";
import { type FileOptions, playFile } from "./play-file.js";
import { type Replayed, countOf, describeError, describeFailure, describeSkips } from "./report.js";

interface Flags {
  readonly engine: EngineName;
  readonly target?: string;
  readonly tokenFile?: string;
  readonly kill?: true;
  readonly restartMidway?: true;
  readonly jobs: number;
}

/**
 * The program `pnpm replay FILE...`: plays recordings through a client and daemons, and prints every result that differs.
 * Sets the exit code: 0 when nothing differs, 1 when something does, 2 when the program cannot run.
 */
export async function runReplay(argv: readonly string[], parts: ReplayParts): Promise<void> {
  const program = new Command("replay")
    .description("Plays recorded traces and vectors through a client and a daemon, and compares every result.")
    .argument("<file...>", "traces-*.jsonl, or a file of vectors such as inputs.jsonl")
    .addOption(
      new Option("--engine <name>", "the engine of the daemons that the program starts")
        .choices(["lmdb", "sqlite", "memory"])
        .default("lmdb"),
    )
    .option("--kill", "end a daemon with SIGKILL instead of SIGTERM where a trace opens its store again")
    .option("--restart-midway", "also open the store again in the middle of each trace")
    .option("--jobs <number>", "how many traces are played at the same time", parseJobs, 4)
    .option("--target <address>", "use a daemon that already runs; it is not restarted")
    .option("--token-file <file>", "the file with the token of a TCP target")
    .action((files: readonly string[], flags: Flags) => play(files, flags, parts));
  try {
    await program.parseAsync(argv);
  } catch (error) {
    process.stderr.write(`replay: ${describeError(error)}\n`);
    process.exitCode = 2;
  }
}

function parseJobs(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 64) throw new InvalidArgumentError("Expected 1 to 64.");
  return value;
}

async function play(files: readonly string[], flags: Flags, parts: ReplayParts): Promise<void> {
  if (flags.target !== undefined && (flags.kill ?? flags.restartMidway)) {
    throw new Error("expected --target without --kill and --restart-midway: the program does not restart that daemon");
  }
  const { factory, options, end } = storesOf(flags, parts);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      void end().finally(() => process.exit(1));
    });
  }
  if (!factory.capabilities.durable) print("this store is not opened again where a trace opens its store again");
  const all: Replayed[] = [];
  try {
    for (const file of files) {
      const replayed = await playFile(file, factory, options);
      all.push(...replayed);
      report(file, replayed);
    }
  } finally {
    await end();
  }
  const failed = countOf(all, "failed");
  print(`${countOf(all, "passed")} passed, ${failed} failed, ${countOf(all, "skipped")} skipped`);
  process.exitCode = failed > 0 ? 1 : 0;
}

interface Stores {
  readonly factory: StoreFactory;
  readonly options: FileOptions;
  /** Ends the daemons that the program has started. */
  readonly end: () => Promise<void>;
}

function storesOf({ engine, target, tokenFile, kill, restartMidway, jobs }: Flags, parts: ReplayParts): Stores {
  if (target !== undefined) {
    const token = tokenFile === undefined ? undefined : readFileSync(tokenFile, "utf8").trim();
    const connect = () => parts.connect(target, { token });
    return {
      factory: runningDaemon(connect),
      options: { hasDataOf: (runtimeIds, withOauth) => hasDataOf(connect, runtimeIds, withOauth) },
      end: () => Promise.resolve(),
    };
  }
  const stores = new DaemonStores(engine, kill ? "SIGKILL" : "SIGTERM", parts);
  return { factory: stores, options: { reopenMidway: restartMidway, atOnce: jobs }, end: () => stores.removeAll() };
}

function report(file: string, replayed: readonly Replayed[]): void {
  print(`${file}: ${countOf(replayed, "passed")} of ${replayed.length} have the expected results`);
  for (const line of describeSkips(replayed)) print(`  ${line}`);
  for (const line of replayed.flatMap(describeFailure)) print(line);
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
