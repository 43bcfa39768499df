import { existsSync, lstatSync, realpathSync, rmSync, statSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { Command } from "commander";
import { type ExportedPart, type Finding, type ImportResult, type RuntimeId, StoreError } from "@bolthole/contract";
import { type Converted, MeerkatFile, type RefusedRow, ToMeerkat } from "@bolthole/sqlite";
import { dataFolderOf } from "../config.js";
import {
  EXIT,
  type ExitCode,
  StartupError,
  failureOf,
  isWithoutAnswer,
  knownFailure,
  withExitCode,
} from "../exit-code.js";
import { findControlFolder, isFile, refuseInside } from "../folder/data-folder.js";
import { keepPrivate, refuseUnusableFiles, reportTightened } from "../folder/private-files.js";
import { RuntimeProgress } from "./progress.js";
import { counted } from "./quantity.js";
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

/** The database of a store cannot be the source of an import into it, nor the target of an export. */
function refuseStoreItself(path: string, { data }: StoreTargetFlags): void {
  const store = dataFolderOf(data);
  if (!existsSync(path) || !existsSync(store) || realpathSync(path) !== realpathSync(store)) return;
  throw new StartupError(EXIT.USAGE, `${path} is the database of the store itself; nothing was changed`);
}

async function importMeerkat(path: string, flags: MoveFlags & StoreTargetFlags): Promise<void> {
  refuseStoreItself(path, flags);
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
  if (runtimes.length === 0) process.stderr.write("bolthole: the database has no runtimes; no runtime was changed\n");
  const move = new Move("import", flags, runtimes.length);
  return move.complete(async () => {
    for (const { runtimeId, name } of runtimes) {
      if (runtimeId === undefined) {
        move.refuse(name, [{ record: "runtime id", reason: "it is not text" }], NOTHING_MOVES);
        continue;
      }
      move.begin(`reading the runtime ${JSON.stringify(name)} from the database`);
      const { converted, outcome } = await file.reading(runtimeId, async (runtime) => {
        const { refused, isEmpty } = runtime;
        const converted = { refused, isEmpty };
        if (isEmpty || !move.takes(converted))
          return { converted, outcome: () => Promise.reject(new Error(NOTHING_MOVES)) };
        move.begin(`moving the runtime ${JSON.stringify(name)}`);
        const imported = whileBusy(() =>
          transfer.importRuntime({ runtimeId, parts: runtime.parts(), overwrite, dryRun }),
        );
        // The runtime is reported when it is certain that the file was not changed meanwhile.
        await imported.catch(() => undefined);
        return { converted, outcome: () => imported };
      });
      // The runtime was cleared after the list was read.
      if (converted.isEmpty && converted.refused.length === 0) continue;
      await move.runtime(name, converted, outcome);
    }
    const oauth = flags.runtime === undefined ? await file.readOauth() : undefined;
    if (oauth) await move.storeRecord(OAUTH, () => importOauth(store, oauth, overwrite, dryRun));
  });
}

const OAUTH = "OAuth flow state";

const noRuntime = (runtimeId: RuntimeId, where: string): StartupError =>
  new StartupError(
    EXIT.USAGE,
    `${where} has no runtime ${JSON.stringify(runtimeId)}: nothing is stored under this id, and nothing was changed; ` +
      "name another one with --runtime",
  );

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
  refuseStoreItself(path, flags);
  if (existsSync(path) && !isFile(path)) {
    throw new StartupError(
      EXIT.USAGE,
      `${path} is a folder, pipe or device; name a database of Meerkat, or a new file`,
    );
  }
  refuseInside(findControlFolder(dataFolderOf(flags.data)), path, "name a file elsewhere");
  const target = await openStoreTarget(flags, "refuse");
  try {
    // Before the file is made.
    if (flags.runtime !== undefined) await refuseUnknown(target.transfer, flags.runtime);
    const file = await withExitCode(() => (flags.dryRun ? openToCompare(path) : openToWrite(path)));
    try {
      process.exitCode = await exportAll(target, file, flags);
    } finally {
      await file?.close();
    }
  } finally {
    await target.close();
  }
}

/** Throws a StartupError when nothing is stored for a runtime id, not even damaged records. */
async function refuseUnknown(transfer: StoreTarget["transfer"], runtimeId: RuntimeId): Promise<void> {
  const parts = await whileBusy(() => transfer.exportRuntime({ runtimeId, salvage: true }));
  if (!parts) throw noRuntime(runtimeId, "the store");
  await end(parts);
}

/** Opens the file of an export. A file that was created and could not be made a database, as on a full disk, is removed. */
async function openToWrite(path: string): Promise<MeerkatFile> {
  const isNew = !lstatSync(path, { throwIfNoEntry: false });
  const filesOf = (): string[] => ["", "-wal", "-shm"].map((suffix) => `${realpathSync(path)}${suffix}`);
  if (existsSync(path)) refuseUnusableFiles(filesOf());
  try {
    const file = await MeerkatFile.openToWrite(path);
    // The export has secrets, so it must not be readable for others either. A database of another program was refused.
    if (!isNew) keepPrivate(filesOf(), reportTightened);
    return file;
  } catch (error) {
    if (isNew) for (const suffix of ["", "-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
    throw error;
  }
}

/** Opens the file of a dry run, which writes nothing. Without contents, every runtime is reported as added. */
const openToCompare = (path: string): Promise<MeerkatFile | undefined> =>
  existsSync(path) && statSync(path).size > 0 ? MeerkatFile.openToRead(path) : Promise.resolve(undefined);

async function exportAll(
  { store, transfer }: StoreTarget,
  file: MeerkatFile | undefined,
  flags: ExportFlags,
): Promise<number> {
  const overwrite = flags.overwrite === true;
  const dryRun = flags.dryRun === true;
  const runtimes = flags.runtime === undefined ? await listAll(store) : [flags.runtime];
  const move = new Move("export", flags, runtimes.length);
  return move.complete(async () => {
    for (const runtimeId of runtimes) {
      move.begin(`loading the runtime ${JSON.stringify(runtimeId)}`);
      const isWanted = (received: Converted): boolean => !isUnreadable(received) && move.takes(received);
      const exported = await exportRuntime(transfer, runtimeId, flags.salvage === true, (parts) =>
        file ? file.write(runtimeId, parts, { overwrite, dryRun, isWanted }) : receive(parts),
      );
      if (!exported) {
        if (flags.runtime !== undefined) throw noRuntime(runtimeId, "the store");
        // The runtime was cleared after the list was read.
        continue;
      }
      if ("damage" in exported) {
        move.refuse(runtimeId, [exported.damage], "export its readable records with --salvage");
      } else if ("failure" in exported) {
        await move.runtime(runtimeId, { refused: [], isEmpty: false }, () => Promise.reject(exported.failure));
      } else {
        const { received, result } = exported;
        move.reportDamage(runtimeId, received.findings);
        if (isUnreadable(received)) move.refuse(runtimeId, [], "none of its records is readable");
        else await move.runtime(runtimeId, received, () => Promise.resolve(result ?? "kept"));
      }
    }
    move.begin("loading the OAuth flow state");
    const oauth = flags.runtime === undefined ? await store.loadAuthOauthFlowSnapshot({}) : undefined;
    if (oauth) await move.storeRecord(OAUTH, () => exportOauth(file, Buffer.from(oauth.value), overwrite, dryRun));
  });
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

interface Written {
  readonly received: ToMeerkat;
  /** Undefined when the runtime was not wanted. */
  readonly result: ImportResult | undefined;
}

/**
 * Passes the parts of a runtime to `write`. Without `salvage`, returns the damaged record that refuses the whole runtime. Returns the
 * error of `write` itself, and throws that of the store.
 */
async function exportRuntime(
  transfer: StoreTarget["transfer"],
  runtimeId: RuntimeId,
  salvage: boolean,
  write: (parts: AsyncIterable<ExportedPart>) => Promise<Written>,
): Promise<Written | { readonly damage: RefusedRow } | { readonly failure: Error } | undefined> {
  try {
    return await whileBusy(async () => {
      const parts = await transfer.exportRuntime({ runtimeId, salvage });
      if (!parts) return undefined;
      try {
        return await write(parts);
      } finally {
        await end(parts);
      }
    });
  } catch (error) {
    if (!(error instanceof StoreError)) return { failure: error as Error };
    if (error.reason !== "DAMAGED_RECORD") throw error;
    return { damage: { record: error.subject.record ?? "a record", reason: error.message } };
  }
}

/** Ends a stream, also one of which nothing was read: a generator that was not begun would leave its call open. */
async function end(parts: AsyncIterable<ExportedPart>): Promise<void> {
  const iterator = parts[Symbol.asyncIterator]();
  await iterator.next().catch(() => undefined);
  await iterator.return?.();
}

/** Receives a runtime for a dry run without a database, in which every runtime is added. */
async function receive(parts: AsyncIterable<ExportedPart>): Promise<Written> {
  const received = new ToMeerkat();
  const rows = received.rows(parts);
  while (!(await rows.next()).done);
  await received.singles();
  return { received, result: "added" };
}

/** Whether a runtime has nothing but damage. */
const isUnreadable = ({ refused, isEmpty }: Converted): boolean => isEmpty && refused.length === 0;

const BUSY_ATTEMPTS = 5;
const BUSY_PAUSE_MS = 500;

/** Moves a runtime again while the store is busy, or changed the runtime during the move. Nothing was changed by a busy one. */
async function whileBusy<T>(move: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await move();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "BUSY" || attempt === BUSY_ATTEMPTS) throw error;
    }
    await setTimeout(BUSY_PAUSE_MS);
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

/** The result in the line of a runtime whose import was sent, and whose response was lost. */
const UNKNOWN = "unknown";

const NOTHING_MOVES = "none of its rows can be moved";

const MOVE_OUTCOMES: readonly MoveOutcome[] = ["added", "replaced", "unchanged", "kept", "skipped"];

/** The progress and the report of an import or export. */
class Move {
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
    private readonly flags: MoveFlags,
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
