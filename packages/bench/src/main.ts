#!/usr/bin/env node
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { isInMemory, machineFacts } from "./machine.js";
import { writePerformancePages } from "./performance-page.js";
import { type Report, type RowGroup, type Section, renderTable, rowsOf } from "./report.js";
import { bulk } from "./rows/bulk.js";
import { growth, replacements } from "./rows/disk-size.js";
import { engines } from "./rows/engines.js";
import { firstLoad } from "./rows/first-load.js";
import { manyRuntimes } from "./rows/many-runtimes.js";
import { newDocuments } from "./rows/new-documents.js";
import { sessionDocuments } from "./rows/session-documents.js";
import { smallCommits } from "./rows/small-commits.js";
import { smallRequests } from "./rows/small-requests.js";
import { turns } from "./rows/turns.js";

/** The row groups in the order of the report. */
const ROW_GROUPS: Readonly<Record<string, RowGroup>> = {
  "small-commits": smallCommits,
  "small-requests": smallRequests,
  turns,
  growth,
  "new-documents": newDocuments,
  bulk,
  "first-load": firstLoad,
  "session-documents": sessionDocuments,
  engines,
};
/** Row groups that need many minutes and gigabytes of disk. */
const LONG_ROW_GROUPS: Readonly<Record<string, RowGroup>> = { replacements, "many-runtimes": manyRuntimes };

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
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError("Expected a number above 0 and at most 3600.");
  return value;
};

const program = new Command("bench")
  .description(
    "Compares the daemon with other servers, as ratios within one run. A missed goal is reported; it is not an error.",
  )
  .addOption(
    new Option("--only <group...>", "measure these row groups only").choices([
      ...Object.keys(ROW_GROUPS),
      ...Object.keys(LONG_ROW_GROUPS),
    ]),
  )
  .option("--long", `also ${Object.keys(LONG_ROW_GROUPS).join(" and ")}: many minutes, and gigabytes of disk`)
  .option("--short", "a test of a few seconds: responses are checked, times are not judged")
  .option("--json", "print one JSON object instead of tables")
  .option("--write-docs", "write docs/performance.md, docs/evidence/performance.md and the plot")
  .option("--seconds <number>", "seconds for each cell of a closed loop, over all rounds", positive, 2)
  .option(
    "--rounds <number>",
    "number of rounds; compared servers alternate within a round",
    (text) => Math.ceil(positive(text)),
    5,
  )
  .option("--out <file>", "also write the JSON object to a file")
  .option("--folder <folder>", "folder for data, on a real disk (default: the system's folder for temporary files)")
  .option("--profile <file>", "write a V8 CPU profile (.cpuprofile) of the daemon; this makes the figures worse")
  .action(run);

function chosen({ only, long }: Flags): [string, RowGroup][] {
  const all = Object.entries({ ...ROW_GROUPS, ...LONG_ROW_GROUPS });
  return all.filter(([name]) => (only ? only.includes(name) : long || name in ROW_GROUPS));
}

async function run(flags: Flags): Promise<void> {
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted.abort(new Error(`ended by ${signal}`));
    });
  }
  if (flags.writeDocs && flags.short)
    throw new Error("--write-docs needs a full run, because a short run does not judge times: leave out --short");
  const parent = flags.folder === undefined ? tmpdir() : resolve(flags.folder);
  mkdirSync(parent, { recursive: true });
  if (isInMemory(parent))
    throw new Error(`${parent} is in memory, where a flush costs nothing: use --folder with a folder on a disk`);
  const { rounds, seconds } = flags.short ? SHORT : flags;
  const measureMs = (seconds * 1000) / rounds;
  const folder = mkdtempSync(join(realpathSync(parent), "bolthole-bench-"));
  const showsProgress = process.stderr.isTTY && !flags.json;
  try {
    const machine = machineFacts(parent);
    const sections: Section[] = [];
    for (const [name, measure] of chosen(flags)) {
      const own = join(folder, name);
      mkdirSync(own, { mode: 0o700 });
      sections.push(
        await measure({
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
    if (flags.writeDocs) writePerformancePages(report);
    process.stdout.write(flags.json ? json : renderTable(report, sections));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  // Everything is closed. Interrupted calls must not keep the process running until their deadline.
  process.exit(1);
});
