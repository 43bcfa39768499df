import { existsSync } from "node:fs";
import { Command } from "commander";
import { type ExportedRuntime, type Finding, type ImportResult, type RuntimeId, StoreError } from "@bolthole/contract";
import { MeerkatFile, type RefusedRow, type Taken, fromMeerkat, toMeerkat } from "@bolthole/sqlite";
import { EXIT, type ExitCode, StartupError, withExitCode } from "../exit-code.js";
import { RuntimeProgress } from "./progress.js";
import { type StoreTarget, type StoreTargetFlags, addStoreTargetOptions, openStoreTarget } from "./store-target.js";

interface MoveFlags {
  readonly runtime?: string;
  readonly dryRun?: true;
  readonly skipDamaged?: true;
  readonly overwrite?: true;
}

interface ExportFlags extends MoveFlags {
  readonly salvage?: true;
}

const addMoveOptions = (command: Command): Command =>
  command
    .option("--runtime <id>", "move only this runtime, and no OAuth flow state")
    .option("--dry-run", "check and compare everything, and write nothing")
    .option("--skip-damaged", "leave out the rows that cannot be moved, and move the other rows of their runtimes")
    .option("--overwrite", "replace runtimes that already exist in the target with other contents");

/** Returns the command `bolthole import meerkat FILE`. */
export function importCommand(): Command {
  const meerkat = new Command("meerkat")
    .description("import every runtime of a Meerkat database; the database is not changed")
    .argument("<file>", "the database")
    .action(importMeerkat);
  return new Command("import")
    .description("import runtimes into a store; a daemon may be serving the store")
    .addCommand(addMoveOptions(addStoreTargetOptions(meerkat)));
}

async function importMeerkat(path: string, flags: MoveFlags & StoreTargetFlags): Promise<void> {
  const file = await withExitCode(() => MeerkatFile.openToRead(path));
  try {
    const target = await openStoreTarget(flags, flags.dryRun ? "memory" : "create");
    try {
      process.exitCode = await importAll(file, target, flags);
    } finally {
      await target.close();
    }
  } finally {
    await file.close();
  }
}

async function importAll(file: MeerkatFile, { store, transfer }: StoreTarget, flags: MoveFlags): Promise<number> {
  const overwrite = flags.overwrite === true;
  const dryRun = flags.dryRun === true;
  const all = await file.runtimes();
  const runtimes = flags.runtime === undefined ? all : all.filter(({ runtimeId }) => runtimeId === flags.runtime);
  if (flags.runtime !== undefined && runtimes.length === 0) throw noRuntime(flags.runtime, "the database");
  const move = new Move(flags, runtimes.length);
  for (const { runtimeId, name } of runtimes) {
    if (runtimeId === undefined) {
      move.refuse(name, [{ record: "runtime id", reason: "it is not text" }], NOTHING_MOVES);
      continue;
    }
    const converted = fromMeerkat(runtimeId, await file.read(runtimeId));
    await move.runtime(name, converted, () => transfer.importRuntime({ contents: converted.taken, overwrite, dryRun }));
  }
  const oauth = flags.runtime === undefined ? await file.readOauth() : undefined;
  if (oauth) await move.storeRecord("OAuth flow state", () => importOauth(store, oauth, overwrite, dryRun));
  return move.end();
}

const noRuntime = (runtimeId: RuntimeId, where: string): StartupError =>
  new StartupError(EXIT.USAGE, `${where} has no runtime ${JSON.stringify(runtimeId)}; name another one with --runtime`);

async function importOauth(
  store: StoreTarget["store"],
  snapshot: Buffer,
  overwrite: boolean,
  dryRun: boolean,
): Promise<ImportResult> {
  const stored = await store.loadAuthOauthFlowSnapshot({});
  if (stored && snapshot.equals(stored.value)) return "unchanged";
  if (stored && !overwrite) return "kept";
  if (!dryRun) {
    const { updated } = await store.updateAuthOauthFlowSnapshot({ snapshot, expected: stored?.version });
    if (!updated) return "kept";
  }
  return stored ? "replaced" : "added";
}

/** Returns the command `bolthole export meerkat FILE`. */
export function exportCommand(): Command {
  const meerkat = new Command("meerkat")
    .description("export every runtime into a Meerkat database, which is created when it is missing")
    .argument("<file>", "the database")
    .action(exportMeerkat);
  return new Command("export")
    .description("export the runtimes of a store; a daemon may be serving the store")
    .addCommand(
      addMoveOptions(addStoreTargetOptions(meerkat)).option(
        "--salvage",
        "export every record of a damaged runtime that is still readable, and name the others",
      ),
    );
}

async function exportMeerkat(path: string, flags: ExportFlags & StoreTargetFlags): Promise<void> {
  const target = await openStoreTarget(flags, "refuse");
  try {
    // A dry run creates no file. Without a file, every runtime is reported as added.
    const file =
      flags.dryRun && !existsSync(path) ? undefined : await withExitCode(() => MeerkatFile.openToWrite(path));
    try {
      process.exitCode = await exportAll(target, file, flags);
    } finally {
      await file?.close();
    }
  } finally {
    await target.close();
  }
}

async function exportAll(
  { store, transfer }: StoreTarget,
  file: MeerkatFile | undefined,
  flags: ExportFlags,
): Promise<number> {
  const overwrite = flags.overwrite === true;
  const dryRun = flags.dryRun === true;
  const runtimes = flags.runtime === undefined ? await listAll(store) : [flags.runtime];
  const move = new Move(flags, runtimes.length);
  for (const runtimeId of runtimes) {
    const contents = await readRuntime(transfer, runtimeId, flags.salvage === true);
    if (!contents) {
      if (flags.runtime !== undefined) throw noRuntime(runtimeId, "the store");
      // The runtime was cleared after the list was read.
      continue;
    }
    if ("refused" in contents) {
      move.refuse(runtimeId, [contents.refused], "export its readable records with --salvage");
      continue;
    }
    move.reportDamage(runtimeId, contents.findings);
    const converted = toMeerkat(contents);
    if (converted.isEmpty && converted.refused.length === 0) {
      move.refuse(runtimeId, [], "none of its records is readable");
      continue;
    }
    await move.runtime(runtimeId, converted, () =>
      file ? file.write(contents, converted.taken, overwrite, dryRun) : Promise.resolve("added"),
    );
  }
  const oauth = flags.runtime === undefined ? await store.loadAuthOauthFlowSnapshot({}) : undefined;
  if (oauth) {
    await move.storeRecord("OAuth flow state", () => exportOauth(file, Buffer.from(oauth.value), overwrite, dryRun));
  }
  return move.end();
}

/** Returns the ids of all runtimes, also of those that are damaged. */
async function listAll(store: StoreTarget["store"]): Promise<RuntimeId[]> {
  const all: RuntimeId[] = [];
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize: 0, pageToken });
    all.push(...page.runtimes.map(({ runtimeId }) => runtimeId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

/** Returns the contents of a runtime. Without `salvage`, returns the damaged record that refuses the whole runtime. */
async function readRuntime(
  transfer: StoreTarget["transfer"],
  runtimeId: RuntimeId,
  salvage: boolean,
): Promise<ExportedRuntime | { readonly refused: RefusedRow } | undefined> {
  try {
    return await transfer.exportRuntime({ runtimeId, salvage });
  } catch (error) {
    if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
    return { refused: { record: error.subject.record ?? "a record", reason: error.message } };
  }
}

async function exportOauth(
  file: MeerkatFile | undefined,
  snapshot: Buffer,
  overwrite: boolean,
  dryRun: boolean,
): Promise<ImportResult> {
  const existing = await file?.readOauth();
  if (existing && snapshot.equals(existing)) return "unchanged";
  if (existing && !overwrite) return "kept";
  if (!dryRun) await file?.writeOauth(snapshot);
  return existing ? "replaced" : "added";
}

type MoveOutcome = ImportResult | "skipped";

const NOTHING_MOVES = "none of its rows can be moved";

const MOVE_OUTCOMES: readonly MoveOutcome[] = ["added", "replaced", "unchanged", "kept", "skipped"];

/** The progress and the report of an import or export. */
class Move {
  private readonly counts = new Map<MoveOutcome, number>();
  private readonly lines: string[] = [];
  private refusedRows = 0;
  private damages = 0;
  private isIncomplete = false;
  private readonly progress: RuntimeProgress;

  constructor(
    private readonly flags: MoveFlags,
    total: number,
  ) {
    this.progress = new RuntimeProgress(total);
  }

  /**
   * Moves one runtime with `write`, as a whole. A runtime with refused rows is not moved, unless `--skip-damaged` leaves these rows
   * out. An error is reported in the line of the runtime, and the next runtimes are still moved.
   */
  async runtime(
    name: string,
    { refused, isEmpty }: Pick<Taken<unknown>, "refused" | "isEmpty">,
    write: () => Promise<ImportResult>,
  ): Promise<void> {
    if (refused.length > 0 && (this.flags.skipDamaged !== true || isEmpty)) {
      this.refuse(name, refused, isEmpty ? NOTHING_MOVES : "move its other rows with --skip-damaged");
      return;
    }
    this.reportRefused(name, refused);
    try {
      const result = await write();
      const why = result === "kept" ? "the target has other contents for it; replace them with --overwrite" : "";
      this.finish(name, result, why);
    } catch (error) {
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
    const result = await write();
    if (result === "kept") this.isIncomplete = true;
    const why = result === "kept" ? "the target has another value; replace it with --overwrite" : "";
    if (result !== "unchanged") this.lines.push(line(result, name, why));
  }

  /** Prints the damage, the refused rows, the runtimes that are not unchanged, and the totals. Returns the exit code. */
  end(): ExitCode {
    this.progress.stop();
    const counts = MOVE_OUTCOMES.map((outcome) => `${String(this.counts.get(outcome) ?? 0)} ${outcome}`).join(", ");
    const dryRun = this.flags.dryRun ? "dry run, nothing was written: " : "";
    const damages = this.damages > 0 ? `; ${String(this.damages)} findings of damage` : "";
    const summary = `${dryRun}runtimes: ${counts}; ${String(this.refusedRows)} rows that cannot be moved${damages}`;
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
