#!/usr/bin/env node
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { recordControl, recordRun } from "./evidence.js";
import { CONTROLS, KINDS } from "./kinds/index.js";
import { checkMachine, hasPrivateMounts, runWithPrivateMounts } from "./kinds/own-disks.js";
import { EXIT, type RunReport, UnsupportedMachineError, violationLines } from "./run.js";

interface Flags {
  readonly cycles?: number;
  readonly minutes?: number;
  readonly seed: number;
  readonly control?: string;
  readonly folder?: string;
  readonly json?: true;
  readonly record?: true;
}

const DEFAULT_CYCLES = 20;
const ALL = "all";
const DEFAULT_MINUTES_OF_ALL = 6;
/** The kinds that `all` leaves out: dead-disk repeats much of power, and lie tests more than is promised. */
const NOT_IN_ALL = ["dead-disk", "lie"];
/** A cycle that began in time may end much later on a busy machine. A run that takes longer has failed. */
const GRACE_MS = 180_000;

const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("Expected a number above 0.");
  return value;
};

const kindLines = Object.values(KINDS).map(({ name, description }) => `  ${name}: ${description}`);
kindLines.push(
  `  ${ALL}: every kind but ${NOT_IN_ALL.join(" and ")}, each for an equal share of --minutes; a kind that cannot run here is skipped`,
);
const controlLines = Object.entries(CONTROLS).map(
  ([name, { description, kinds }]) => `  ${name} (${kinds.join(", ")}): ${description}`,
);

const program = new Command("torture")
  .description("Breaks the machine under a real daemon again and again, and checks the daemon's promises.")
  .addArgument(new Argument("<kind>", "the kind of fault").choices([...Object.keys(KINDS), ALL]))
  .option(
    "--cycles <number>",
    `number of cycles (default: ${String(DEFAULT_CYCLES)}, or no limit when --minutes is given)`,
    positive,
  )
  .option("--minutes <number>", "start no cycle after this time, except the first", positive)
  .option(
    "--seed <number>",
    "determines the faults and operations; their times depend on the machine",
    positive,
    Date.now() % 1_000_000,
  )
  .addOption(
    new Option("--control <name>", "also break the daemon; the run passes only if a promise is found broken").choices(
      Object.keys(CONTROLS),
    ),
  )
  .option("--folder <folder>", "folder for data, disk image and ledgers; removed unless a promise was broken")
  .option("--json", "print one JSON object for each cycle, and one for the run")
  .option("--record", "add the result to docs/evidence/durability.md")
  .addHelpText(
    "after",
    `\nKinds:\n${kindLines.join("\n")}\n\nControls, and the kinds that must catch them:\n${controlLines.join("\n")}\n\n` +
      "Exit codes: 0 no promise was broken (with --control: the control was caught), 1 a promise was broken (the control\n" +
      "was not caught), 2 usage, 3 this machine cannot run the kind, 4 the harness itself failed.",
  )
  .exitOverride()
  .action(run);

async function run(name: string, flags: Flags): Promise<void> {
  if (name === ALL) {
    if (flags.record) program.error("error: --record takes a single kind, not all");
    process.exitCode = await runAll(flags.minutes ?? DEFAULT_MINUTES_OF_ALL, flags.seed);
    return;
  }
  const kind = KINDS[name];
  if (!kind) throw new RangeError(`there is no kind called ${name}`);
  if (kind.mountsDisk) {
    checkMachine();
    if (!hasPrivateMounts()) {
      process.exitCode = await runWithPrivateMounts();
      return;
    }
  }
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      interrupted.abort();
    });
  }
  const parent = realpathSync(flags.folder === undefined ? tmpdir() : makeFolder(resolve(flags.folder)));
  const folder = mkdtempSync(join(parent, "torture-"));
  const { control } = flags;
  const report = await kind.run({
    seed: flags.seed,
    cycles: flags.cycles ?? (flags.minutes === undefined ? DEFAULT_CYCLES : Infinity),
    until: flags.minutes === undefined ? Infinity : Date.now() + flags.minutes * 60_000,
    folder,
    preload: control === undefined ? undefined : join(__dirname, "mutants", `${control}.js`),
    interrupted: interrupted.signal,
    onCycle: (facts, text) => {
      print(flags.json ? JSON.stringify(facts) : text);
    },
  });
  const isViolated = report.violations.length > 0;
  const kept = isViolated && control === undefined ? folder : undefined;
  if (kept === undefined) rmSync(folder, { recursive: true, force: true });
  if (flags.json) print(JSON.stringify({ ...report, control, kept }));
  else printReport(report, control, kept);
  if (flags.record) {
    if (control === undefined) recordRun(report, commandText(name, flags));
    else recordControl(report, control);
  }
  process.exitCode = isViolated === (control !== undefined) ? EXIT.passed : EXIT.failed;
}

function printReport(report: RunReport, control: string | undefined, kept: string | undefined): void {
  const { kind, seed, cycles, seconds, lines, violations } = report;
  print(`${kind}, seed ${String(seed)}: ${String(cycles)} cycles in ${String(seconds)} s`);
  for (const line of [...lines.map((text) => `  ${text}`), ...violationLines(violations)]) print(line);
  if (kept !== undefined) print(`  data and ledgers are kept in ${kept}`);
  if (control === undefined) return;
  const promises = [...new Set(violations.map(({ promise }) => promise))].join(", ");
  print(violations.length > 0 ? `control ${control}: caught, by ${promises}` : `control ${control}: NOT CAUGHT`);
}

/** Runs every kind for an equal share of the time, one after the other. Returns the exit code. */
async function runAll(minutes: number, seed: number): Promise<number> {
  const names = Object.keys(KINDS).filter((name) => !NOT_IN_ALL.includes(name));
  const outcomes: string[] = [];
  let code: number = EXIT.passed;
  for (const name of names) {
    const ended = await runInProcess(name, minutes / names.length, seed);
    outcomes.push(`${name} ${ended === EXIT.passed ? "passed" : ended === EXIT.unsupported ? "SKIPPED" : "FAILED"}`);
    if (ended !== EXIT.passed && ended !== EXIT.unsupported) code = Math.max(code, ended);
  }
  print(`all: ${outcomes.join(", ")}`);
  return code;
}

async function runInProcess(kind: string, minutes: number, seed: number): Promise<number> {
  print(`\n== ${kind}`);
  const args = [join(__dirname, "main.js"), kind, "--minutes", String(minutes), "--seed", String(seed)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  const ended = new Promise<number>((resolve) => {
    child.once("exit", (code) => {
      resolve(code ?? EXIT.harness);
    });
  });
  const settled = new AbortController();
  const late = sleep(minutes * 60_000 + GRACE_MS, EXIT.harness, { signal: settled.signal });
  late.catch(() => undefined);
  const code = await Promise.race([ended, late]);
  settled.abort();
  // An interrupted run ends its daemon and its clients.
  if (child.exitCode === null) child.kill("SIGINT");
  return code;
}

/** The command that repeats a run. */
function commandText(kind: string, { cycles, minutes, seed }: Flags): string {
  const limits = [
    cycles === undefined ? "" : ` --cycles ${String(cycles)}`,
    minutes === undefined ? "" : ` --minutes ${String(minutes)}`,
  ];
  return `pnpm torture ${kind}${limits.join("")} --seed ${String(seed)}`;
}

function makeFolder(folder: string): string {
  mkdirSync(folder, { recursive: true });
  return folder;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.passed : EXIT.usage;
    return;
  }
  if (error instanceof UnsupportedMachineError) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT.unsupported;
    return;
  }
  process.stderr.write(`torture: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(EXIT.harness);
});
