import type { Finding, ImportResult, StoreError } from "@bolthole/contract";
import type { Converted, RefusedRow } from "@bolthole/sqlite";
import { EXIT, type ExitCode, StartupError, failureOf, isWithoutAnswer, knownFailure } from "../exit-code.js";
import { RuntimeProgress } from "./progress.js";
import { counted } from "./quantity.js";

/** The options of imports and exports. */
export interface MoveFlags {
  readonly runtime?: string;
  readonly dryRun?: true;
  readonly skipDamaged?: true;
  readonly overwrite?: true;
}

type MoveOutcome = ImportResult | "skipped";

/** The result in the line of a runtime whose import was sent, and whose response was lost. */
const UNKNOWN = "unknown";

export const NOTHING_MOVES = "none of its rows can be moved";

const MOVE_OUTCOMES: readonly MoveOutcome[] = ["added", "replaced", "unchanged", "kept", "skipped"];

/** The progress and the report of an import or export. */
export class Move {
  private readonly counts = new Map<MoveOutcome, number>();
  private readonly lines: string[] = [];
  private refusedRows = 0;
  private damages = 0;
  private isIncomplete = false;
  /** The number of runtimes whose import was sent, and whose response was lost. */
  private unknown = 0;
  private step = "";
  private readonly progress: RuntimeProgress;

  constructor(
    private readonly command: "import" | "export",
    private readonly flags: Pick<MoveFlags, "dryRun" | "skipDamaged">,
    private readonly total: number,
  ) {
    this.progress = new RuntimeProgress(total);
  }

  /** Moves everything with `work`, and prints the report, also after an error that ends the work early. Returns the exit code. */
  async complete(work: () => Promise<void>): Promise<ExitCode> {
    try {
      await work();
      return this.end();
    } catch (error) {
      if (error instanceof StartupError) {
        this.progress.stop();
        throw error;
      }
      this.end();
      throw this.interruption(error);
    }
  }

  /** Names what is done next, for the message of an error. */
  begin(step: string): void {
    this.step = step;
  }

  /** Whether a runtime is moved: none of its rows is refused, or the refused ones are left out. */
  takes({ refused, isEmpty }: Converted): boolean {
    return refused.length === 0 || (this.flags.skipDamaged === true && !isEmpty);
  }

  /**
   * Moves one runtime with `write`, as a whole. A runtime with refused rows is not moved, unless `--skip-damaged` leaves these rows
   * out. An error is reported in the line of the runtime, and the next runtimes are still moved, unless the daemon does not answer.
   */
  async runtime(name: string, converted: Converted, write: () => Promise<ImportResult>): Promise<void> {
    const { refused, isEmpty } = converted;
    if (!this.takes(converted)) {
      this.refuse(name, refused, isEmpty ? NOTHING_MOVES : "move its other rows with --skip-damaged");
      return;
    }
    this.reportRefused(name, refused);
    this.begin(`moving the runtime ${JSON.stringify(name)}`);
    try {
      const result = await write();
      const why = result === "kept" ? "the target has other contents for it; replace them with --overwrite" : "";
      this.finish(name, result, why);
    } catch (error) {
      if (isWithoutAnswer(error)) {
        if (error.applied === "unknown") this.unknown += 1;
        this.reportUnknown(name, error);
        throw error;
      }
      this.finish(name, "skipped", (error as Error).message);
    }
  }

  /** Reports a runtime that is not moved. `why` has the reason, or what to do. */
  refuse(name: string, refused: readonly RefusedRow[], why: string): void {
    this.reportRefused(name, refused);
    this.finish(name, "skipped", why);
  }

  /** Reports the damage of a runtime whose other records are moved. */
  reportDamage(name: string, findings: readonly Finding[]): void {
    this.damages += findings.length;
    for (const { code, record, text } of findings) {
      this.lines.push(line("damaged", name, `${record === undefined ? "" : `${record}: `}${text} (${code})`));
    }
  }

  /** Moves a record of the store with `write`. */
  async storeRecord(name: string, write: () => Promise<ImportResult>): Promise<void> {
    this.begin(`moving the ${name}`);
    const result = await write().catch((error: unknown) => {
      if (isWithoutAnswer(error)) this.reportUnknown(name, error);
      throw error;
    });
    if (result === "kept") this.isIncomplete = true;
    const why = result === "kept" ? "the target has another value; replace it with --overwrite" : "";
    if (result !== "unchanged") this.lines.push(line(result, name, why));
  }

  private reportUnknown(name: string, { applied }: StoreError): void {
    if (applied !== "unknown") return;
    this.isIncomplete = true;
    this.lines.push(line(UNKNOWN, name, "it may have been moved, completely or not at all"));
  }

  /** Returns the error that ended the work early, with what was done and how to go on. */
  private interruption(error: unknown): Error {
    const { exitCode, message } = failureOf(knownFailure(error));
    const done = [...this.counts.values()].reduce((sum, count) => sum + count, 0);
    const left = this.total - done - this.unknown;
    const unknown = this.unknown > 0 ? `, ${counted(this.unknown, "runtime")} may have been moved` : "";
    const text =
      `the ${this.command} ended early, while ${this.step}: ${message}\n` +
      `the report has ${counted(done, "runtime")} of ${String(this.total)}${unknown}, ${counted(left, "runtime was", "runtimes were")} not moved; ` +
      "repeat the same command to go on: runtimes that were moved are found unchanged";
    return new StartupError(exitCode, text, error);
  }

  /** Prints the damage, the refused rows, the runtimes that are not unchanged, and the totals. Returns the exit code. */
  private end(): ExitCode {
    this.progress.stop();
    const counts = MOVE_OUTCOMES.map((outcome) => `${String(this.counts.get(outcome) ?? 0)} ${outcome}`).join(", ");
    const dryRun = this.flags.dryRun ? "dry run, nothing was written: " : "";
    const damages = this.damages > 0 ? `; ${counted(this.damages, "finding")} of damage` : "";
    const summary = `${dryRun}runtimes: ${counts}; ${counted(this.refusedRows, "row")} that cannot be moved${damages}`;
    process.stdout.write([...this.lines, summary, ""].join("\n"));
    if (this.damages > 0) return EXIT.DAMAGED;
    return this.isIncomplete ? EXIT.INCOMPLETE : EXIT.CLEAN;
  }

  private reportRefused(name: string, refused: readonly RefusedRow[]): void {
    this.refusedRows += refused.length;
    for (const { record, reason } of refused) this.lines.push(line("refused", name, `${record}: ${reason}`));
  }

  private finish(name: string, outcome: MoveOutcome, why: string): void {
    if (outcome === "kept" || outcome === "skipped") this.isIncomplete = true;
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + 1);
    if (outcome !== "unchanged") this.lines.push(line(outcome, name, why));
    this.progress.increment();
  }
}

const line = (result: string, name: string, why: string): string =>
  `${result.padEnd(10)}${JSON.stringify(name)}${why === "" ? "" : `: ${why}`}`;
