#!/usr/bin/env node
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { isInMemory, machineFacts } from "./machine.js";
import { writePerformancePage } from "./performance-page.js";
import { type Report, type Section, rowsOf } from "./report.js";
import { engines } from "./rows/engines.js";
import { firstLoad } from "./rows/first-load.js";
import { growth } from "./rows/growth.js";
import { manyRuntimes } from "./rows/many-runtimes.js";
import { newDocuments } from "./rows/new-documents.js";
import { replacements } from "./rows/replacements.js";
import { sessionDocuments } from "./rows/session-documents.js";
import { smallCommits } from "./rows/small-commits.js";
import { smallRequests } from "./rows/small-requests.js";
import { turns } from "./rows/turns.js";
import type { Subject } from "./subject.js";
import { renderTable } from "./table.js";

/** In the order of the report. */
const SUBJECTS: Readonly<Record<string, Subject>> = {
  "small-commits": smallCommits,
  "small-requests": smallRequests,
  turns,
  growth,
  "new-documents": newDocuments,
  "first-load": firstLoad,
  "session-documents": sessionDocuments,
  engines,
};
/** They take many minutes and gigabytes of disk. */
const LONG_SUBJECTS: Readonly<Record<string, Subject>> = { replacements, "many-runtimes": manyRuntimes };

const WARM_UP = 0.25;
const SHORT = { rounds: 1, seconds: 0.1 };

interface Flags {
  readonly only?: readonly string[];
  readonly long?: true;
  readonly short?: true;
  readonly json?: true;
  readonly writeDocs?: true;
  readonly seconds: number;
  readonly rounds: number;
  readonly out?: string;
  readonly folder?: string;
  readonly profile?: string;
}

const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError("Expected a number above 0, and of at most 3600.");
  return value;
};

const program = new Command("bench")
  .description(
    "Compares the daemon with its peers, as ratios within one run. A missed goal is reported, and no failure.",
  )
  .addOption(
    new Option("--only <row...>", "these groups of rows only").choices([
      ...Object.keys(SUBJECTS),
      ...Object.keys(LONG_SUBJECTS),
    ]),
  )
  .option("--long", `also ${Object.keys(LONG_SUBJECTS).join(" and ")}: many minutes, and gigabytes of disk`)
  .option("--short", "a smoke test of a few seconds: are the answers right; time is not judged")
  .option("--json", "print one JSON object instead of tables")
  .option("--write-docs", "write the table and the plot of docs/performance.md")
  .option("--seconds <number>", "seconds that each cell of a closed loop is measured, over all rounds", positive, 2)
  .option("--rounds <number>", "rounds in which what is compared takes turns", (text) => Math.ceil(positive(text)), 5)
  .option("--out <file>", "also write the JSON object to a file")
  .option(
    "--folder <folder>",
    "where data folders are made and removed again; on a real disk (default: the system's for temporary files)",
  )
  .option(
    "--profile <file>",
    "let the daemon write a V8 CPU profile (.cpuprofile) when it stops; figures are worse with it",
  )
  .action(run);

function chosen({ only, long }: Flags): [string, Subject][] {
  const all = Object.entries({ ...SUBJECTS, ...LONG_SUBJECTS });
  return all.filter(([name]) => (only ? only.includes(name) : long || name in SUBJECTS));
}

async function run(flags: Flags): Promise<void> {
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted.abort(new Error(`ended by ${signal}`));
    });
  }
  if (flags.writeDocs && flags.short) throw new Error("a short run says nothing about time: nothing to write");
  const parent = flags.folder === undefined ? tmpdir() : resolve(flags.folder);
  mkdirSync(parent, { recursive: true });
  if (isInMemory(parent)) throw new Error(`${parent} is in memory, where a flush costs nothing: name another --folder`);
  const { rounds, seconds } = flags.short ? SHORT : flags;
  const measureMs = (seconds * 1000) / rounds;
  const folder = mkdtempSync(join(realpathSync(parent), "bolthole-bench-"));
  const showsProgress = process.stderr.isTTY && !flags.json;
  try {
    const machine = machineFacts(parent);
    const sections: Section[] = [];
    for (const [name, subject] of chosen(flags)) {
      const own = join(folder, name);
      mkdirSync(own, { mode: 0o700 });
      sections.push(
        await subject({
          folder: own,
          isShort: flags.short === true,
          profileFile: flags.profile === undefined ? undefined : resolve(flags.profile),
          rounds: {
            count: rounds,
            window: { warmUpMs: measureMs * WARM_UP, measureMs },
            hasRehearsal: !flags.short,
            signal: interrupted.signal,
            onProgress: (text) => {
              if (showsProgress) process.stderr.write(`\r\u001b[K${text}`);
            },
          },
        }),
      );
      rmSync(own, { recursive: true, force: true });
    }
    if (showsProgress) process.stderr.write("\r\u001b[K");
    const report: Report = { machine: { ...machine, rounds, secondsPerCell: seconds }, rows: sections.flatMap(rowsOf) };
    const json = `${JSON.stringify(report)}\n`;
    if (flags.out !== undefined) writeFileSync(flags.out, json);
    if (flags.writeDocs) writePerformancePage(report);
    process.stdout.write(flags.json ? json : renderTable(report, sections));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  // Everything is closed; calls that were interrupted must not keep the process until their deadline.
  process.exit(1);
});
