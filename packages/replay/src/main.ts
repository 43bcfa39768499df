#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  type FileOptions,
  type Replayed,
  type StoreFactory,
  countOf,
  describeFailure,
  describeSkips,
  playFile,
} from "@bolthole/conformance";
import { DaemonStores, type EngineName } from "./daemon-stores.js";
import { inProcessStores } from "./in-process-stores.js";
import { isTaken, targetStores } from "./target-stores.js";

interface Flags {
  readonly engine: EngineName;
  readonly target?: string;
  readonly tokenFile?: string;
  readonly inProcess?: true;
  readonly kill?: true;
  readonly restartMidway?: true;
  readonly jobs: number;
}

const jobs = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 64) throw new InvalidArgumentError("Expected 1 to 64.");
  return value;
};

const program = new Command("replay")
  .description("Plays recorded traces and golden vectors through a real client and daemon, and compares every answer.")
  .argument("<file...>", "traces-*.jsonl, or a family such as inputs.jsonl, known by its name")
  .addOption(
    new Option("--engine <name>", "of the daemons that are started")
      .choices(["lmdb", "sqlite", "memory"])
      .default("lmdb"),
  )
  .option("--kill", "end a daemon with SIGKILL, where a trace opens its store again, instead of SIGTERM")
  .option("--restart-midway", "open the store again in the middle of each trace, too")
  .option("--jobs <number>", "how many traces are played at the same time", jobs, 4)
  .option("--in-process", "play on stores in this process, without client and daemon")
  .option("--target <address>", "play on a daemon that runs already; it is not restarted")
  .option("--token-file <file>", "the token of a TCP target")
  .action(run);

async function run(files: readonly string[], flags: Flags): Promise<void> {
  if (flags.target !== undefined && (flags.inProcess ?? flags.kill ?? flags.restartMidway)) {
    throw new Error("--target cannot go with --in-process, --kill or --restart-midway: the daemon there is not ours");
  }
  const { factory, options, end } = storesOf(flags);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      void end().finally(() => process.exit(1));
    });
  }
  if (!factory.capabilities.durable) print("where a trace opens its store again, this store lives on");
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
  readonly end: () => Promise<void>;
}

function storesOf({ engine, target, tokenFile, inProcess, kill, restartMidway, jobs: atOnce }: Flags): Stores {
  const end = (): Promise<void> => Promise.resolve();
  if (target !== undefined) {
    const token = tokenFile === undefined ? undefined : readFileSync(tokenFile, "utf8").trim();
    const options: FileOptions = { isTaken: (ids, withOauth) => isTaken(target, token, ids, withOauth) };
    return { factory: targetStores(target, token), options, end };
  }
  const options: FileOptions = { reopenMidway: restartMidway, atOnce };
  if (inProcess) return { factory: inProcessStores(engine), options, end };
  const stores = new DaemonStores(engine, kill ? "SIGKILL" : "SIGTERM");
  return { factory: stores, options, end: () => stores.removeAll() };
}

function report(file: string, replayed: readonly Replayed[]): void {
  print(`${file}: ${countOf(replayed, "passed")} of ${replayed.length} answer as recorded`);
  for (const line of describeSkips(replayed)) print(`  ${line}`);
  for (const line of replayed.flatMap(describeFailure)) print(line);
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`replay: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 2;
});
