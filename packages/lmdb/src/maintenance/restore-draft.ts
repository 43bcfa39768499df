import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DRAFT_BEGINNING, OTHER_FILES, UnusableFolderError, namesIn } from "../format.js";
import { PROCESS_NAME, isRunning, ownProcessName } from "../process-name.js";
import { flushPath } from "./check.js";
import { removeFolderInUse } from "./scratch-folder.js";

/** The file by which a folder is a store. */
const LAST_FILE = "format";

/** The file of a draft with the names of its files, one in a line. It is there before the first of them is moved. */
const MOVES_FILE = "moves";

/**
 * A folder in which a restore makes a store until it is complete. It is in the target, which keeps its place: it may be a mount point, the
 * working directory of a shell, or in a folder that this user cannot write. The files of the complete store are moved to the target, the
 * file `format` last. Until then the target is no store to any command, also after the restore was killed: no command makes another store
 * there, and the next restore removes what the killed one left.
 */
export class RestoreDraft {
  private readonly moved: string[] = [];
  private isComplete = false;

  private constructor(
    readonly folder: string,
    private readonly target: string,
    private readonly madeTarget: boolean,
  ) {}

  /**
   * Creates the draft, and the target when it is missing. Removes the drafts that killed restores left there. Throws an
   * UnusableFolderError unless the target is missing or empty.
   */
  static for(path: string): RestoreDraft {
    if (!existsSync(path)) {
      if (lstatSync(path, { throwIfNoEntry: false })) {
        throw new UnusableFolderError(`${path} is a link that leads to no folder; name the folder itself`);
      }
      mkdirSync(path, { mode: 0o700 });
      return new RestoreDraft(newFolder(path), path, true);
    }
    const target = realpathSync(path);
    const left = leftovers(target);
    const moved = existsSync(join(target, LAST_FILE)) ? [] : left.flatMap((name) => movedFrom(join(target, name)));
    const known = new Set([...OTHER_FILES, ...left, ...moved]);
    const found = readdirSync(target).filter((name) => !known.has(name));
    if (found.length > 0) {
      // Not in the folder of another store, which a daemon may be serving.
      const proposed = found.includes(LAST_FILE) ? `${target}-restored` : join(target, "restored");
      throw new UnusableFolderError(
        `${target} is not empty, it has ${found.slice(0, 3).join(", ")}; ` +
          `restore a backup to a new folder, such as ${proposed}, or to an empty one`,
      );
    }
    // The drafts last: they have the names of the others, in case that this process is killed, too.
    removeAll(target, moved);
    removeAll(target, left);
    return new RestoreDraft(newFolder(target), target, false);
  }

  /** Puts the complete store into its place, durably. */
  async publish(): Promise<void> {
    closeToOthers(this.target);
    const names = readdirSync(this.folder).filter((name) => name !== LAST_FILE);
    writeFileSync(join(this.folder, MOVES_FILE), names.join("\n"), { mode: 0o600, flush: true });
    await flushPath(this.folder);
    for (const name of names) this.move(name);
    await flushPath(this.target);
    this.move(LAST_FILE);
    // From now on a daemon may serve the store, so that nothing of it is removed.
    this.moved.length = 0;
    this.isComplete = true;
    rmSync(this.folder, { recursive: true, force: true });
    await flushPath(this.target);
    if (this.madeTarget) await flushPath(dirname(this.target));
  }

  /** Removes everything that was made. */
  discard(): void {
    // The draft last: it has the names of the others, in case that this process is killed.
    removeAll(this.target, this.moved);
    removeFolderInUse(this.folder);
    if (this.madeTarget && !this.isComplete) removeEmpty(this.target);
  }

  private move(name: string): void {
    const path = join(this.target, name);
    if (existsSync(path)) throw new UnusableFolderError(`${path} was made by another process during the restore`);
    renameSync(join(this.folder, name), path);
    this.moved.push(name);
  }
}

/** The process is in the name, so that the draft of a killed one is known. */
const newFolder = (target: string): string => mkdtempSync(join(target, `${DRAFT_BEGINNING}${ownProcessName()}-`));

const DRAFT = new RegExp(`^${DRAFT_BEGINNING}(${PROCESS_NAME})-\\w{6}$`);

/** Returns the names of the drafts in a folder whose processes have ended. */
function leftovers(folder: string): string[] {
  return namesIn(folder).filter((name) => {
    const owner = DRAFT.exec(name)?.[1];
    return owner !== undefined && !isRunning(owner);
  });
}

/** Returns the names of the files that a killed restore had already moved out of its draft. */
function movedFrom(draft: string): string[] {
  let text: string;
  try {
    text = readFileSync(join(draft, MOVES_FILE), "utf8");
  } catch {
    return [];
  }
  // A file that is still in the draft was not moved: what has its name beside the draft is of another origin.
  return text.split("\n").filter((name) => name !== "" && basename(name) === name && !existsSync(join(draft, name)));
}

function removeAll(folder: string, names: readonly string[]): void {
  for (const name of names) rmSync(join(folder, name), { recursive: true, force: true });
}

/** Removes a folder in which nothing is. Another process may have put something there, which stays. */
function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // See above.
  }
}

/** A new data folder has the mode 0700. A file system without modes, or of another owner, keeps its own; the start checks it. */
function closeToOthers(folder: string): void {
  try {
    chmodSync(folder, 0o700);
  } catch {
    // See above.
  }
}
