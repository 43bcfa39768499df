import {
  type BigIntStats,
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { tryLock } from "fs-native-extensions";
import { LostFilesError } from "@bolthole/core";
import { EXIT, StartupError } from "../exit-code.js";
import { isSameFile, lookUp } from "./file-identity.js";
import { removeEndpoint } from "./state-files.js";
import { type OnTightened, keepPrivate, refuseUnusableFiles } from "./private-files.js";
import { LOCK_FILE, type StoreFiles, pathsOf } from "./store-id.js";

/**
 * The byte of a data file that is locked. It is far behind every byte that a database can have, and behind the bytes that SQLite locks
 * itself (from 2^30 on), so the engines are not affected.
 */
const LOCKED_BYTE = 2 ** 62;

/** The number of attempts to lock the lock file when another process removes it at the same time. */
const LOCK_ATTEMPTS = 10;

/** The content of a lock file, for error messages. */
interface LockOwner {
  readonly pid: number;
  readonly startedAt: string;
}

/** A file of the store, as it was when it was opened. */
interface WatchedFile {
  readonly path: string;
  readonly opened: BigIntStats;
}

/**
 * Makes this process the only owner of a store, by two locks that the operating system releases when the process ends:
 *
 * - of the file `bolthole.lock` in the control folder, which also exists before there is a store, and names the owner,
 * - of the data file itself, so that removing `bolthole.lock`, or reaching the data file by another path, gives no second owner.
 *
 * Both are locks of an open file (OFD locks on Linux, BSD locks on macOS), and not the POSIX record locks that SQLite and LMDB use. Those
 * are lost when any descriptor of the file is closed by the process. Therefore the lock is taken before the engine opens the data file,
 * and must be released after the engine has closed it.
 */
export class StoreLock {
  private readonly descriptors: number[] = [];
  private readonly watched: WatchedFile[] = [];
  /** The data file, which is locked. */
  private dataDescriptor: number | undefined;

  private constructor(
    private readonly files: StoreFiles,
    private readonly onTightened: OnTightened,
  ) {}

  /**
   * Takes the locks, and makes the files private. Throws a StartupError with HELD when another process has one of the locks, and with
   * DATA_FOLDER when a file cannot be used or made private.
   */
  static take(files: StoreFiles, startedAt: Date, onTightened: OnTightened): StoreLock {
    const paths = pathsOf(files);
    refuseUnusableFiles(paths);
    const lock = new StoreLock(files, onTightened);
    try {
      lock.lockControlFolder(startedAt);
      // A database may be one of another program, which nothing may change: `adopt` makes it private, when the engine has accepted it.
      keepPrivate(files.isShared ? pathsOf({ ...files, dataFile: undefined, engineFiles: [] }) : paths, onTightened);
      lock.lockDataFile();
      lock.check();
      // No daemon serves this folder now. The file may be the one of another folder, of which this one is a copy.
      removeEndpoint(files.controlFolder);
    } catch (error) {
      lock.release();
      throw error;
    }
    return lock;
  }

  /**
   * Locks the data file if the engine has just created it, and makes it private. From now on, `check` looks up the files of the engine,
   * too. Call it when the engine has opened the store.
   */
  adopt(): void {
    this.lockDataFile();
    keepPrivate(pathsOf(this.files), this.onTightened);
    this.watchDataFiles();
    this.check();
  }

  /** Throws a LostFilesError unless the lock file, and every file of the store, is still at its path. */
  readonly check = (): void => {
    for (const { path, opened } of this.watched) {
      const found = lookUp(path);
      if (found && isSameFile(found, opened)) continue;
      const danger =
        path === this.lockFile ? "another process could serve the same store" : "changes would be lost with the file";
      throw new LostFilesError(
        `the file ${path} was ${found ? "replaced" : "removed or moved"} while it was in use, and ${danger}. ` +
          "Put the store's own files back if they are gone, and start the store again",
      );
    }
  };

  /**
   * Locks a file that is about to take the place of the data file, and calls `rename`, which puts it there. From then on, `check` looks up
   * the new files. Throws what `check` throws.
   */
  readonly replaceDataFile = (draft: string, rename: () => void): void => {
    this.check();
    const old = this.dataDescriptor;
    const locked = this.lockedFile(draft);
    if (!locked) throw new Error(`the new data file ${draft} cannot be locked: it cannot be opened`);
    try {
      rename();
    } catch (error) {
      closeSync(locked.descriptor);
      throw error;
    }
    this.dataDescriptor = locked.descriptor;
    this.watched.splice(0, Infinity, ...this.watched.filter(({ path }) => path === this.lockFile));
    this.watchDataFiles();
    if (old !== undefined) closeSync(old);
  };

  /** Releases both locks. Call it when the engine has closed the data file. A second call does nothing. */
  release(): void {
    for (const descriptor of this.descriptors.splice(0)) closeSync(descriptor);
    if (this.dataDescriptor !== undefined) closeSync(this.dataDescriptor);
    this.dataDescriptor = undefined;
  }

  private get lockFile(): string {
    return join(this.files.controlFolder, LOCK_FILE);
  }

  private lockControlFolder(startedAt: Date): void {
    const descriptor = this.openLockFile();
    const owner: LockOwner = { pid: process.pid, startedAt: startedAt.toISOString() };
    ftruncateSync(descriptor, 0);
    writeSync(descriptor, `${JSON.stringify(owner)}\n`);
    fsyncSync(descriptor);
  }

  /** Returns the locked lock file. It is certain to be the one at the path: another process may remove it between two steps. */
  private openLockFile(): number {
    const { controlFolder } = this.files;
    for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt += 1) {
      const descriptor = openSync(this.lockFile, "a+", 0o600);
      if (!tryLock(descriptor)) {
        closeSync(descriptor);
        throw new StartupError(
          EXIT.HELD,
          `data folder ${controlFolder} is in use by another bolthole process${describeOwner(this.lockFile)}; ` +
            "stop it, or choose another folder",
        );
      }
      const found = lookUp(this.lockFile);
      const locked = fstatSync(descriptor, { bigint: true });
      if (found && isSameFile(found, locked)) {
        this.descriptors.push(descriptor);
        this.watch(this.lockFile, locked);
        return descriptor;
      }
      closeSync(descriptor);
    }
    throw new StartupError(EXIT.HELD, `another process removes ${this.lockFile} again and again; stop that process`);
  }

  private lockDataFile(): void {
    const { dataFile } = this.files;
    if (dataFile === undefined || this.dataDescriptor !== undefined) return;
    const locked = this.lockedFile(dataFile);
    if (!locked) return;
    this.dataDescriptor = locked.descriptor;
    this.watch(dataFile, locked.found);
  }

  /** Opens and locks a data file, if there is one. Throws a StartupError with HELD when another process has the lock. */
  private lockedFile(path: string): { readonly descriptor: number; readonly found: BigIntStats } | undefined {
    const { isShared } = this.files;
    const opened = openDataFile(path);
    if (!opened) return undefined;
    const { descriptor, isReadOnly } = opened;
    if (!canLock(isShared) || tryLock(descriptor, LOCKED_BYTE, 1, { shared: isReadOnly })) {
      return { descriptor, found: fstatSync(descriptor, { bigint: true }) };
    }
    closeSync(descriptor);
    throw new StartupError(
      EXIT.HELD,
      `the data file ${path} is in use by another bolthole process, which started with another lock file: ` +
        `its ${LOCK_FILE} was removed, or it reaches the file by another path; find the process and stop it, then start again`,
    );
  }

  /** Looks up the files of the engine from now on, too. */
  private watchDataFiles(): void {
    const { dataFile, engineFiles = [] } = this.files;
    for (const path of [...(dataFile === undefined ? [] : [dataFile]), ...engineFiles]) {
      const found = lookUp(path);
      if (found && !this.watched.some((watched) => watched.path === path)) this.watch(path, found);
    }
  }

  private watch(path: string, opened: BigIntStats): void {
    this.watched.push({ path, opened });
  }
}

/**
 * Whether a data file can be locked. On macOS only whole files can be locked, and such a lock would shut out SQLite, whose file other
 * programs share.
 */
const canLock = (isShared: boolean): boolean => !isShared || process.platform !== "darwin";

/** Opens the data file if there is one. A file that cannot be written is opened for reading, and can then be locked with others only. */
function openDataFile(path: string): { readonly descriptor: number; readonly isReadOnly: boolean } | undefined {
  for (const flags of ["r+", "r"] as const) {
    try {
      return { descriptor: openSync(path, flags), isReadOnly: flags === "r" };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return undefined;
      // A folder, for example: the engine names the problem.
      if (code !== "EACCES" && code !== "EROFS" && code !== "EPERM") return undefined;
    }
  }
  return undefined;
}

function describeOwner(path: string): string {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(path, "utf8")) as LockOwner;
    return ` (pid ${String(pid)}, started ${startedAt})`;
  } catch {
    // The owner holds the lock before it writes its pid.
    return "";
  }
}
