#!/usr/bin/env node
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { runAll } from "./all.js";
import { CONTROLS } from "./controls.js";
import { EXIT } from "./exit-code.js";
import { CannotRun } from "./kinds/kind.js";
import { KINDS } from "./kinds/index.js";
import { checkMachine, hasPrivateMounts, runWithPrivateMounts } from "./power/private-mounts.js";
import type { Finding } from "./check/findings.js";
import { type CycleReport, cycleText, findingLines, runText } from "./report.js";
import { Torture } from "./torture.js";
import type { TrialOptions } from "./trials/trial.js";
import { TRIALS } from "./trials/index.js";

interface Flags {
  readonly cycles?: number;
  readonly minutes?: number;
  readonly seed: number;
  readonly control?: string;
  readonly folder?: string;
  readonly json?: true;
}

const DEFAULT_CYCLES = 20;
const ALL = "all";
const DEFAULT_MINUTES_OF_ALL = 6;

const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("Expected a number above 0.");
  return value;
};

const kinds = Object.values({ ...KINDS, ...TRIALS }).map(({ name, description }) => `  ${name}: ${description}`);
kinds.push(
  `  ${ALL}: each of the others but dead-disk and lie for its share of --minutes, those that cannot run here skipped`,
);
const controls = Object.entries(CONTROLS).map(
  ([name, { description, kinds: catchers }]) => `  ${name} (${catchers.join(", ")}): ${description}`,
);

const program = new Command("torture")
  .description("Breaks the machine under a real daemon, again and again, and checks what it promised.")
  .addArgument(new Argument("<kind>", "what is broken").choices([...Object.keys({ ...KINDS, ...TRIALS }), ALL]))
  .option(
    "--cycles <number>",
    `how often (default: ${String(DEFAULT_CYCLES)}, or without end when --minutes is given)`,
    positive,
  )
  .option("--minutes <number>", "no cycle but the first begins later", positive)
  .option(
    "--seed <number>",
    "decides what is done; when it happens is up to the machine",
    positive,
    Date.now() % 1_000_000,
  )
  .addOption(
    new Option("--control <name>", "break the daemon too: the run passes only if that is caught").choices(
      Object.keys(CONTROLS),
    ),
  )
  .option(
    "--folder <folder>",
    "where data, disk image and ledgers are made, and removed again unless something is found",
  )
  .option("--json", "print one JSON object for each cycle, and one for the run")
  .addHelpText(
    "after",
    `\nKinds:\n${kinds.join("\n")}\n\nControls, and the kinds that are to catch them:\n${controls.join("\n")}\n\n` +
      "Exit codes: 0 nothing was found (with --control: it was caught), 1 something was found (it was not caught),\n" +
      "2 usage, 3 this machine cannot run the kind, 4 the harness itself failed.",
  )
  .exitOverride()
  .action(run);

async function run(kindName: string, flags: Flags): Promise<void> {
  if (kindName === ALL) {
    process.exitCode = await runAll(flags.minutes ?? DEFAULT_MINUTES_OF_ALL, flags.seed, print);
    return;
  }
  if (KINDS[kindName]?.isOnOwnDisk) {
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
  const report = await carryOut(kindName, {
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
  const isFound = report.findings.length > 0;
  const isKept = isFound && control === undefined;
  if (!isKept) rmSync(folder, { recursive: true, force: true });
  if (flags.json) print(JSON.stringify({ ...report.facts, control, kept: isKept ? folder : undefined }));
  else {
    print([report.text, ...findingLines(report.findings)].join("\n"));
    if (isKept) print(`  data and ledgers are kept in ${folder}`);
    if (control !== undefined) {
      const promises = [...new Set(report.findings.map(({ promise }) => promise))].join(", ");
      print(isFound ? `control ${control}: caught, by ${promises}` : `control ${control}: NOT CAUGHT`);
    }
  }
  process.exitCode = isFound === (control !== undefined) ? EXIT.fine : EXIT.found;
}

interface Outcome {
  readonly findings: readonly Finding[];
  readonly facts: object;
  readonly text: string;
}

async function carryOut(name: string, options: TrialOptions): Promise<Outcome> {
  const kind = KINDS[name];
  if (kind) {
    const onCycle = (cycle: CycleReport): void => {
      options.onCycle(cycle, cycleText(cycle));
    };
    const facts = await new Torture({ ...options, kind, onCycle }).run();
    return { findings: facts.findings, facts, text: runText(facts) };
  }
  const trial = TRIALS[name];
  if (!trial) throw new RangeError(`no kind is called ${name}`);
  const facts = await trial.run(options);
  const head = `${facts.kind}, seed ${String(facts.seed)}: ${String(facts.cycles)} cycles in ${String(facts.seconds)} s`;
  return { findings: facts.findings, facts, text: [head, ...facts.lines.map((line) => `  ${line}`)].join("\n") };
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
    process.exitCode = error.exitCode === 0 ? EXIT.fine : EXIT.usage;
    return;
  }
  if (error instanceof CannotRun) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT.cannotRun;
    return;
  }
  process.stderr.write(`torture: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(EXIT.failed);
});
