import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { unfinishedRestoreText } from "@bolthole/lmdb";
import { EXIT, StartupError } from "../exit-code.js";
import { isFile } from "./data-folder.js";
import { replaceFileDurably } from "./state-files.js";

const STORE_ID_FILE = "store-id";
const FORMAT_FILE = "format";
export const LOCK_FILE = "bolthole.lock";
const NO_SPACE: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EROFS"];

/** The names of a store: where it is, and the file that holds its data. */
export interface StoreFiles {
  readonly controlFolder: string;
  /** Undefined for a store in memory. */
  readonly dataFile: string | undefined;
  /** The other files that the engine keeps open as long as the data file. They are lost together with it. */
  readonly engineFiles?: readonly string[];
  /** Whether other programs may use the data file at the same time. */
  readonly isShared: boolean;
}

/** Returns the files of a store in an LMDB data folder. */
export const lmdbFiles = (folder: string): StoreFiles => ({
  controlFolder: folder,
  dataFile: join(folder, "data.mdb"),
  engineFiles: [join(folder, "lock.mdb")],
  isShared: false,
});

/** Returns the files of a store in a SQLite database. */
export function sqliteFiles(controlFolder: string, file: string): StoreFiles {
  // As the control folder, and as SQLite itself does for the other files.
  const real = existsSync(file) ? realpathSync(file) : file;
  return { controlFolder, dataFile: real, engineFiles: [`${real}-wal`, `${real}-shm`], isShared: true };
}

/** The files of a control folder that are read or written by their names. */
export const STATE_FILES: readonly string[] = [
  FORMAT_FILE,
  STORE_ID_FILE,
  "running",
  "token",
  "scrub",
  "damaged-runtimes",
  "endpoint",
  LOCK_FILE,
  "data.mdb",
  "lock.mdb",
  // The names under which files are written before they take their places.
  ...[FORMAT_FILE, STORE_ID_FILE, "scrub", "damaged-runtimes", "endpoint", "room"].map((name) => `${name}.new`),
];

/** Returns the paths of all files of a store, whether they are there or not. */
export const pathsOf = ({ controlFolder, dataFile, engineFiles = [] }: StoreFiles): string[] => [
  ...new Set([...STATE_FILES.map((name) => join(controlFolder, name)), ...[dataFile ?? [], engineFiles].flat()]),
];

/**
 * Whether there is a store, or was one. Without the file `store-id`, a folder whose data file was lost looks like one that never
 * had a store.
 */
export const holdsStore = ({ controlFolder, dataFile }: StoreFiles): boolean =>
  dataFile !== undefined && (existsSync(dataFile) || existsSync(join(controlFolder, STORE_ID_FILE)));

/**
 * Whether there is a store, or a process that may be serving one at this place. Without either, a command that only reads must not even
 * lock the folder, which may be one of another program: also a folder with a file `data.mdb` is not ours without the other files.
 */
export function mayHoldStore(files: StoreFiles): boolean {
  const { controlFolder, isShared } = files;
  const isOurs = isShared || [FORMAT_FILE, STORE_ID_FILE].some((name) => existsSync(join(controlFolder, name)));
  // A daemon that keeps its store in memory has only the lock file.
  return (isOurs && holdsStore(files)) || existsSync(join(controlFolder, LOCK_FILE));
}

export const noStore = (data: string): StartupError =>
  new StartupError(
    EXIT.DATA_FOLDER,
    textOfUnfinishedRestore(data) ?? `there is no store at ${data}; choose an existing one with --data`,
  );

/** Returns what to say of a data folder into which a restore is running or was killed, or undefined for anything else. */
export const textOfUnfinishedRestore = (data: string): string | undefined =>
  isFile(data) ? undefined : unfinishedRestoreText(data);

/** Throws a StartupError when the store's data file is missing or empty: opening it would create another, empty store. */
export function refuseLostData({ controlFolder, dataFile }: StoreFiles): void {
  const expected = readStoreId(controlFolder);
  if (expected === undefined || dataFile === undefined) return;
  const isMissing = !existsSync(dataFile);
  if (!isMissing && statSync(dataFile).size > 0) return;
  throw new StartupError(
    EXIT.DAMAGED,
    `the data of store ${expected} is lost: its file ${dataFile} is ${isMissing ? "missing" : "empty"}. No new store was created. ` +
      `Put the file back, or restore a backup to a new folder`,
  );
}

/**
 * Compares the id of the opened store with the id of the store that was opened here before. The first time, notes the id durably.
 * Throws a StartupError when they differ.
 */
export function keepStoreId({ controlFolder, dataFile }: StoreFiles, storeId: string): void {
  if (dataFile === undefined) return;
  const path = join(controlFolder, STORE_ID_FILE);
  const expected = readStoreId(controlFolder);
  if (expected === storeId) return;
  if (expected !== undefined) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `expected the data of store ${expected} in ${dataFile}, found store ${storeId}. ` +
        `Put the right file back. If you replaced it on purpose, delete ${path} and start again`,
    );
  }
  try {
    replaceFileDurably(path, `${storeId}\n`, controlFolder);
  } catch (error) {
    // Without space, the next start tries again.
    if (!NO_SPACE.includes((error as NodeJS.ErrnoException).code)) throw error;
  }
}

/** Returns the noted id of the store, or undefined when none is noted. */
function readStoreId(controlFolder: string): string | undefined {
  const path = join(controlFolder, STORE_ID_FILE);
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, "utf8").trim();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `expected the id of the store in ${path}, found ${JSON.stringify(text.slice(0, 40))}. ` +
      `If the data file beside it is the right one, delete ${path} and start again`,
  );
}
