import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import type { Config } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
const CONTROL_FOLDER_SUFFIX = ".bolthole";

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
  if (existsSync(folder) && !isFolder(folder)) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `expected a folder at ${folder}, found another kind of file; name a folder`,
    );
  }
  try {
    makeFolder(folder);
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const advice =
      code === "EROFS" && existsSync(folder)
        ? "it is on a read-only file system, and every command locks the store and writes there. To check, back up or export it, copy it " +
          `to a place that this user can write: cp -a ${folder} COPY, and name the copy with --data`
        : "choose a folder that this user can write";
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `data folder ${folder} cannot be created or written (${String(code)}); ${advice}`,
      cause,
    );
  }
  refuseForeignFolder(folder, "data folder");
  const { mode } = statSync(folder);
  if ((mode & OTHERS_MAY_WRITE) === 0) return;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `data folder ${folder} is writable by other users (mode ${(mode & 0o7777).toString(8)}); run: chmod go-w ${folder}. ` +
      `If something else sets this mode: ${adviceOf(folder)}`,
  );
}

const adviceOf = (folder: string): string =>
  `name a new folder in it, such as ${join(folder, "bolthole")}, which bolthole creates for this user alone`;

/** Refuses a folder of another user. Only its owner can change its mode, and its owner can replace the files in it. */
export function refuseForeignFolder(folder: string, description: string): void {
  const { uid } = statSync(folder);
  const user = process.getuid?.();
  if (user === undefined || uid === user) return;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `expected ${description} ${folder} to belong to this user (${String(user)}), found owner ${String(uid)}; ${adviceOf(folder)}`,
  );
}

/** Refuses to write a file in the control folder of a store, where it could take the place of one of the store's own files. */
export function refuseInside(controlFolder: string, path: string, advice: string): void {
  const parent = dirname(resolve(path));
  const folder = existsSync(parent) ? realpathSync(parent) : parent;
  const store = existsSync(controlFolder) ? realpathSync(controlFolder) : resolve(controlFolder);
  if (folder !== store && !folder.startsWith(store + sep)) return;
  throw new StartupError(EXIT.USAGE, `${path} is in the data folder of the store; ${advice}; nothing was written`);
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
    `${description} ${folder} is writable by other users; run: chmod go-w ${folder}. If something else sets this mode: ${adviceOf(folder)}`,
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
