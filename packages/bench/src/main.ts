#!/usr/bin/env node
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { isInMemory, machineFacts } from "./machine.js";
import { type Report, type Section, rowsOf } from "./report.js";
import { engines } from "./rows/engines.js";
import { sessionDocuments } from "./rows/session-documents.js";
import { smallRequests } from "./rows/small-requests.js";
import type { Subject } from "./subject.js";
import { renderTable } from "./table.js";

/** In the order of the report. */
const SUBJECTS: Readonly<Record<string, Subject>> = {
  "small-requests": smallRequests,
  "session-documents": sessionDocuments,
  engines,
};

const WARM_UP = 0.25;
const SHORT = { rounds: 1, seconds: 0.1 };

interface Flags {
  readonly json?: true;
  readonly short?: true;
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
  .option("--json", "print one JSON object instead of tables")
  .option("--short", "a smoke test of a few seconds: are the answers right; time is not judged")
  .option("--seconds <number>", "seconds that each cell is measured, over all rounds", positive, 5)
  .option("--rounds <number>", "rounds in which the cells take turns", (text) => Math.ceil(positive(text)), 5)
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

async function run(flags: Flags): Promise<void> {
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      interrupted.abort(new Error(`ended by ${signal}`));
    });
  }
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
    for (const [name, subject] of Object.entries(SUBJECTS)) {
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
    }
    if (showsProgress) process.stderr.write("\r\u001b[K");
    const report: Report = { machine: { ...machine, rounds, secondsPerCell: seconds }, rows: sections.flatMap(rowsOf) };
    const json = `${JSON.stringify(report)}\n`;
    if (flags.out !== undefined) writeFileSync(flags.out, json);
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
