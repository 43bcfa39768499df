import { existsSync, lstatSync, realpathSync, rmSync, statSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { Command } from "commander";
import { type ExportedPart, type ImportResult, type RuntimeId, StoreError } from "@bolthole/contract";
import { type Converted, MeerkatFile, type RefusedRow, ToMeerkat } from "@bolthole/sqlite";
import { dataFolderOf } from "../config.js";
import { EXIT, StartupError, withExitCode } from "../exit-code.js";
import { findControlFolder, isFile, refuseInside } from "../folder/data-folder.js";
import { keepPrivate, refuseUnusableFiles, reportTightened } from "../folder/private-files.js";
import { Move, type MoveFlags, NOTHING_MOVES } from "./move-report.js";
import { type StoreTarget, type StoreTargetFlags, addStoreTargetOptions, openStoreTarget } from "./store-target.js";

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
