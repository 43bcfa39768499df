import { accessSync, constants, mkdirSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Config } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;

const BESIDE = ".bolthole";

/** Where the daemon's own files lie: in the data folder, or beside the database file. */
export const homeOf = ({ data, engine }: Pick<Config, "data" | "engine">): string =>
  engine === "sqlite" ? besideFile(data) : data;

/** The same for somebody who knows only what was given as `--data`. */
export const findHome = (data: string): string =>
  statSync(data, { throwIfNoEntry: false })?.isFile() ? besideFile(data) : data;

/** Of the file itself, so that two links to it lead to one folder and one lock. */
function besideFile(file: string): string {
  if (statSync(file, { throwIfNoEntry: false })) return `${realpathSync(file)}${BESIDE}`;
  const folder = dirname(file);
  return join(
    statSync(folder, { throwIfNoEntry: false }) ? realpathSync(folder) : folder,
    `${basename(file)}${BESIDE}`,
  );
}

/** Makes the folder if there is none; refuses one that is no folder, that we cannot write, or that others can. */
export function prepareDataFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartupError(EXIT.DATA_FOLDER, `data folder ${folder} is not writable (${String(code)})`, cause);
  }
  refuseSharedFolder(folder, "data folder");
}

/** Who may write a folder may replace what lies in it. A sticky folder (such as /tmp) protects its entries. */
export function refuseSharedFolder(folder: string, what: string): void {
  const { mode, uid } = statSync(folder);
  const isOurs = process.getuid === undefined || uid === process.getuid();
  if ((mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0) {
    throw new StartupError(EXIT.DATA_FOLDER, `${what} ${folder} may be written by others; run: chmod go-w ${folder}`);
  }
  if (what === "data folder" && (!isOurs || (mode & OTHERS_MAY_WRITE) !== 0)) {
    throw new StartupError(EXIT.DATA_FOLDER, `${what} ${folder} belongs to or may be written by others`);
  }
}

export const parentOf = (path: string): string => dirname(path);
