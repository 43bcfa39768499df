import { SingleBar } from "cli-progress";
import type { ImportResult } from "@bolthole/contract";
import type { MeerkatFile, RefusedRow, Taken } from "@bolthole/sqlite";
import type { Command } from "commander";
import { UnusableFileError } from "@bolthole/sqlite";
import { EXIT, type ExitCode, StartupError } from "../exit-code.js";

/** How a move goes on, from the command line. */
export interface MoveFlags {
  readonly dryRun?: true;
  readonly skipDamaged?: true;
  readonly overwrite?: true;
}

export const addMoveOptions = (command: Command): Command =>
  command
    .option("--dry-run", "check and compare everything, and write nothing")
    .option("--skip-damaged", "leave out the rows that cannot be taken, and take the rest of their runtimes")
    .option("--overwrite", "replace runtimes of which something else is there already");

/** A file that cannot be used is told with its own exit code. */
export async function usable(opening: Promise<MeerkatFile>): Promise<MeerkatFile> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof UnusableFileError) throw new StartupError(EXIT.DATA_FOLDER, error.message, error);
    throw error;
  }
}

type Outcome = ImportResult | "left";

const OUTCOMES: readonly Outcome[] = ["added", "replaced", "unchanged", "kept", "left"];

/** Runtimes on their way from one place to another: the progress on long work, and what became of each. */
export class Move {
  private readonly counts = new Map<Outcome, number>();
  private readonly lines: string[] = [];
  private refusedRows = 0;
  private leftOut = 0;
  private readonly bar = new SingleBar({
    format: "{bar} {value} of {total} runtimes",
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });

  constructor(
    private readonly flags: MoveFlags,
    total: number,
  ) {
    this.bar.start(total, 0);
  }

  /**
   * Moves one runtime as a whole. With rows that cannot be taken it stays where it is, unless these are to be left out;
   * what fails is told, and the others go on.
   */
  async runtime(
    name: string,
    { refused, isEmpty }: Pick<Taken<unknown>, "refused" | "isEmpty">,
    put: () => Promise<ImportResult>,
  ): Promise<void> {
    if (refused.length > 0 && (this.flags.skipDamaged !== true || isEmpty)) {
      this.refuse(name, refused, isEmpty);
      return;
    }
    this.report(name, refused);
    try {
      const result = await put();
      if (result === "kept") this.leftOut += 1;
      this.finish(name, result, result === "kept" ? "something else of it is there; replace it with --overwrite" : "");
    } catch (error) {
      this.leftOut += 1;
      this.finish(name, "left", (error as Error).message);
    }
  }

  /** Leaves a runtime where it is, for its rows that cannot be taken. */
  refuse(name: string, refused: readonly RefusedRow[], isAll: boolean): void {
    this.report(name, refused);
    this.leftOut += 1;
    this.finish(name, "left", isAll ? "nothing of it can be taken" : "take the rest of it with --skip-damaged");
  }

  /** Reports something that is not of one runtime. */
  async store(name: string, put: () => Promise<ImportResult>): Promise<void> {
    const result = await put();
    if (result === "kept") this.leftOut += 1;
    const why = result === "kept" ? "another one is there; replace it with --overwrite" : "";
    if (result !== "unchanged") this.lines.push(line(result, name, why));
  }

  /** Every row that cannot be taken, every runtime that was not, and the counts. */
  end(): ExitCode {
    this.bar.stop();
    const counts = OUTCOMES.map((outcome) => `${String(this.counts.get(outcome) ?? 0)} ${outcome}`).join(", ");
    const rows = `${String(this.refusedRows)} rows that cannot be taken`;
    const dry = this.flags.dryRun ? "dry run, nothing was written: " : "";
    process.stdout.write([...this.lines, `${dry}runtimes: ${counts}; ${rows}`, ""].join("\n"));
    return this.leftOut > 0 ? EXIT.INCOMPLETE : EXIT.CLEAN;
  }

  private report(name: string, refused: readonly RefusedRow[]): void {
    this.refusedRows += refused.length;
    for (const { record, reason } of refused) this.lines.push(line("refused", name, `${record}: ${reason}`));
  }

  private finish(name: string, outcome: Outcome, why: string): void {
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + 1);
    if (outcome !== "unchanged") this.lines.push(line(outcome, name, why));
    this.bar.increment();
  }
}

const line = (what: string, name: string, why: string): string =>
  `${what.padEnd(10)}${JSON.stringify(name)}${why === "" ? "" : `: ${why}`}`;
