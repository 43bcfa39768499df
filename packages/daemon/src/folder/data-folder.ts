import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { tryLock } from "fs-native-extensions";
import type { Config } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
const CONTROL_FOLDER_SUFFIX = ".bolthole";
const LOCK_FILE = "bolthole.lock";

/**
 * Returns the control folder: the folder of the lock, socket, endpoint and token files. It is the data folder; for the engine
 * sqlite it is a folder beside the database file.
 */
export const controlFolderOf = ({ data, engine }: Pick<Config, "data" | "engine">): string =>
  engine === "sqlite" ? controlFolderOfFile(data) : data;

/** Returns the control folder when only the value of `--data` is known: a file can only be a SQLite database. */
export const findControlFolder = (data: string): string => (isFile(data) ? controlFolderOfFile(data) : data);

/** Uses the real path of the file, so that two links to one file lead to one folder and one lock. */
function controlFolderOfFile(file: string): string {
  if (existsSync(file)) return `${realpathSync(file)}${CONTROL_FOLDER_SUFFIX}`;
  const folder = dirname(file);
  const realFolder = existsSync(folder) ? realpathSync(folder) : folder;
  return join(realFolder, `${basename(file)}${CONTROL_FOLDER_SUFFIX}`);
}

/**
 * Creates the folder when it is missing. Refuses a path that is not a folder, and a folder that this process cannot write or that
 * other users can write.
 */
export function prepareDataFolder(folder: string): void {
  try {
    makeFolder(folder);
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `data folder ${folder} cannot be created or written (${String(code)}); choose a folder that this user can write`,
      cause,
    );
  }
  refuseSharedFolder(folder, "data folder");
  const { mode, uid } = statSync(folder);
  const isOwner = process.getuid === undefined || uid === process.getuid();
  if (!isOwner || (mode & OTHERS_MAY_WRITE) !== 0) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `expected data folder ${folder} to belong to this user and not to be writable by others, found owner ${String(uid)} ` +
        `and mode ${(mode & 0o7777).toString(8)}; change them, or choose another folder`,
    );
  }
}

/**
 * Refuses a folder in which other users can create or replace files. A sticky folder (such as /tmp) is accepted: other users
 * cannot replace the files of this user there.
 */
export function refuseSharedFolder(folder: string, description: string): void {
  const { mode } = statSync(folder);
  if ((mode & OTHERS_MAY_WRITE) === 0 || (mode & STICKY) !== 0) return;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `${description} ${folder} is writable by other users; run: chmod go-w ${folder}`,
  );
}

/**
 * Creates a folder and its missing parents, all with mode 0700, so that they survive a power cut. Throws the error of the operating
 * system when that fails.
 *
 * Node's recursive mkdir is not used: it never returns when mkdir reports ENOENT although the parent exists, as in /proc.
 */
export function makeFolder(path: string): void {
  const parent = dirname(path);
  if (!existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isFolder(path)) throw error;
    return;
  }
  flushFolder(parent);
}

/** Flushes the entries of a folder, so that what was created or renamed in it survives a power cut. */
export function flushFolder(path: string): void {
  let folder: number;
  try {
    folder = openSync(path, "r");
  } catch {
    // A folder in which this user may create entries, but which it may not read, cannot be opened.
    return;
  }
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

// `existsSync` also returns false below a file, where `statSync` throws ENOTDIR even with `throwIfNoEntry: false`.
export const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/** The content of a lock file, for error messages. */
interface LockOwner {
  readonly pid: number;
  readonly startedAt: string;
}

/**
 * Makes this process the only owner of the folder and returns a function that releases it. The operating system releases the
 * lock when the process ends, so a lock file that a crash leaves behind does not block the next start.
 */
export function lockFolder(folder: string, startedAt: Date): () => void {
  const path = join(folder, LOCK_FILE);
  const descriptor = openSync(path, "a+", 0o600);
  if (!tryLock(descriptor)) {
    const owner = describeLockOwner(path);
    closeSync(descriptor);
    throw new StartupError(
      EXIT.HELD,
      `data folder ${folder} is in use by another bolthole process${owner}; stop it, or choose another folder`,
    );
  }
  const owner: LockOwner = { pid: process.pid, startedAt: startedAt.toISOString() };
  ftruncateSync(descriptor, 0);
  writeSync(descriptor, `${JSON.stringify(owner)}\n`);
  fsyncSync(descriptor);
  return () => {
    closeSync(descriptor);
  };
}

function describeLockOwner(path: string): string {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(path, "utf8")) as LockOwner;
    return ` (pid ${String(pid)}, started ${startedAt})`;
  } catch {
    // The owner holds the lock before it writes its pid.
    return "";
  }
}
