import { type Stats, chmodSync, lstatSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { EXIT, StartupError } from "../exit-code.js";

const OTHERS = 0o077;

/** A file that other users could read or write before this process changed its mode. */
export interface Tightened {
  readonly path: string;
  /** The mode that it had, such as "644". */
  readonly mode: string;
}
export type OnTightened = (file: Tightened) => void;

/** Returns the message about a file that was tightened. */
export const tightenedText = ({ path, mode }: Tightened): string =>
  `${path} could be read by other users (mode ${mode}); it has mode 600 now` +
  (path.endsWith("/token")
    ? ". If somebody may have read the token, delete the file and start again: a new one is made"
    : "");

/** Reports a file that a command tightened. */
export const reportTightened: OnTightened = (file) => {
  process.stderr.write(`bolthole: ${tightenedText(file)}\n`);
};

/**
 * Refuses a file of the store that is something else than a file with one name. A pipe would be waited for. A link may lead to a file that
 * another program replaces, and a file with a second name may be written or read by that name: a copy made with `cp -al` changes with
 * the store. What is missing is accepted.
 */
export function refuseUnusableFiles(paths: readonly string[]): void {
  for (const path of paths) {
    const found = lookUp(path);
    const problem = found && problemOf(path, found);
    if (problem !== undefined) throw new StartupError(EXIT.DATA_FOLDER, `${problem}. Nothing was changed`);
  }
}

function problemOf(path: string, found: Stats): string | undefined {
  if (found.isSymbolicLink()) {
    return `expected a file at ${path}, found a symbolic link; move the file itself there (or name its folder with --data), and start again`;
  }
  if (!found.isFile()) {
    return `expected a file at ${path}, found a folder, pipe or device; move it away, and start again`;
  }
  if (found.nlink > 1) {
    return (
      `${path} has ${String(found.nlink)} names (hard links), so that it may be changed or read by another name; give it a copy of its own, ` +
      `with no process using it: cp -p ${path} ${path}.copy && mv ${path}.copy ${path}`
    );
  }
  return undefined;
}

/**
 * Makes files of the store private to this user, and reports each that was not. Refuses one whose mode cannot be changed, unless nobody
 * else can enter its folder.
 */
export function keepPrivate(paths: readonly string[], onTightened: OnTightened): void {
  for (const path of paths) {
    const found = lookUp(path);
    if (!found?.isFile() || (found.mode & OTHERS) === 0) continue;
    const mode = (found.mode & 0o7777).toString(8);
    const failure = tighten(path, found.mode);
    if (failure === undefined) onTightened({ path, mode });
    // A read-only file system, and one without modes, keep what they have.
    else if (failure !== "EROFS" && (statSync(dirname(path)).mode & OTHERS) !== 0) {
      throw new StartupError(
        EXIT.DATA_FOLDER,
        `${path} can be read by other users (mode ${mode}), and this user (${String(process.getuid?.())}) cannot change that (${failure}); ` +
          `run as its owner (${String(found.uid)}): chmod go= ${path}`,
      );
    }
  }
}

/**
 * Returns the error code when the mode cannot be changed. The file is not opened: the POSIX locks of this process on a file, which engines
 * have, end when any descriptor of it is closed. A link that takes its place meanwhile can only lose rights of others.
 */
function tighten(path: string, mode: number): string | undefined {
  try {
    chmodSync(path, mode & 0o700);
    return (lstatSync(path).mode & OTHERS) === 0 ? undefined : "the file system keeps no modes";
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

function lookUp(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    // Nothing is there, or the folder cannot be entered, which another check names.
    return undefined;
  }
}
