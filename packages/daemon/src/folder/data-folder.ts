import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { EXIT, StartFailure } from "../exit-code.js";

const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;

/** Makes the folder if there is none; refuses one that is no folder, that we cannot write, or that others can. */
export function prepareDataFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StartFailure(EXIT.DATA_FOLDER, `data folder ${folder} is not writable (${String(code)})`, cause);
  }
  refuseSharedFolder(folder, "data folder");
}

/** Who may write a folder may replace what lies in it. A sticky folder (such as /tmp) protects its entries. */
export function refuseSharedFolder(folder: string, what: string): void {
  const { mode, uid } = statSync(folder);
  const isOurs = process.getuid === undefined || uid === process.getuid();
  if ((mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0) {
    throw new StartFailure(EXIT.DATA_FOLDER, `${what} ${folder} may be written by others; run: chmod go-w ${folder}`);
  }
  if (what === "data folder" && (!isOurs || (mode & OTHERS_MAY_WRITE) !== 0)) {
    throw new StartFailure(EXIT.DATA_FOLDER, `${what} ${folder} belongs to or may be written by others`);
  }
}

export const parentOf = (path: string): string => dirname(path);
