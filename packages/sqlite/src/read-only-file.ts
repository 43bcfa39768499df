import { type BigIntStats, constants, existsSync, realpathSync, statSync } from "node:fs";
import { chmod, copyFile, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { SqliteConnection, UnusableFileError, isBusy, isNoDatabase, isRefusedToReader } from "./connection.js";

/**
 * How a database is read without a change to its files.
 *
 * `locked`: with SQLite's locks, beside processes that write. SQLite finds the content of the log through its index `-shm`, and keeps an
 * index of its own in memory if no process has the database open.
 *
 * `immutable`: without locks. Only for a database in WAL mode with no log, so that the file has the whole content. With locks, SQLite
 * would make the files `-wal` and `-shm`. Each read is checked afterwards, because another process may open the database at any time.
 *
 * `copy`: over a private copy. Only for content that SQLite must recover before it can be read: a log without its index, or a
 * rollback journal that a crash left.
 */
type Way = "locked" | "immutable" | "copy";

/** A read is repeated this often when other processes write the database at the same time. */
const MAX_ATTEMPTS = 10;

/** A database that another program owns. Nothing of it is changed: no byte, no time of a change, and no entry of its folder. */
export class ReadOnlyFile {
  private constructor(
    private readonly path: string,
    private connection: SqliteConnection,
    private way: Way,
    private stamp: Stamp,
  ) {}

  /** Opens a file that exists. Throws an UnusableFileError. */
  static async open(path: string): Promise<ReadOnlyFile> {
    return withReason(path, "read", async () => {
      // To open a pipe would wait for its writer.
      if (!statSync(path).isFile()) {
        throw new UnusableFileError(`${path} is a folder, pipe or device; name a database of Meerkat`);
      }
      return ReadOnlyFile.openReal(path, true);
    });
  }

  /**
   * Opens a file that exists, or returns undefined when it can be read only from a copy. Use it before a file is opened to be
   * written, which recovers it in place.
   */
  static async openInPlace(path: string): Promise<ReadOnlyFile | undefined> {
    return withReason(path, "read", async () => {
      try {
        return await ReadOnlyFile.openReal(path, false);
      } catch (error) {
        if (error instanceof RecoveryNeeded || isRefusedToReader(error)) return undefined;
        throw error;
      }
    });
  }

  private static async openReal(path: string, mayCopy: boolean): Promise<ReadOnlyFile> {
    // SQLite looks for the log of a link beside the file that it leads to.
    const realPath = realpathSync(path);
    const { connection, way, stamp } = await openUnchanged(realPath, mayCopy);
    return new ReadOnlyFile(realPath, connection, way, stamp);
  }

  /**
   * Calls `work` with a connection that cannot write. `work` may be called again, when another process wrote the file in the meantime.
   * It calls `confirm` before it passes on what it read: this throws when `work` has to be called again, and otherwise its result
   * is returned. Throws an UnusableFileError when the file cannot be read.
   */
  async read<T>(work: (connection: SqliteConnection, confirm: () => void) => Promise<T>): Promise<T> {
    return withReason(this.path, "read", async () => {
      for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt += 1) {
        const passedOn = { isConfirmed: false };
        const confirm = (): void => {
          if (!this.isCurrent()) throw changedTooOften(this.path);
          passedOn.isConfirmed = true;
        };
        const result = await settledOf(work(this.connection, confirm));
        if (passedOn.isConfirmed || this.isCurrent()) return result();
        await this.reopen();
      }
      throw changedTooOften(this.path);
    });
  }

  close(): Promise<void> {
    return this.connection.close();
  }

  /** Whether what was read is one state of the database. */
  private isCurrent(): boolean {
    return this.way !== "immutable" || this.stamp.isCurrent();
  }

  private async reopen(): Promise<void> {
    const opened = await openUnchanged(this.path, true);
    await this.connection.close();
    ({ connection: this.connection, way: this.way, stamp: this.stamp } = opened);
  }
}

/** Thrown when a file could be read only from a copy, and no copy may be made. */
class RecoveryNeeded extends Error {}

interface Opened {
  readonly connection: SqliteConnection;
  readonly way: Way;
  readonly stamp: Stamp;
}

async function openUnchanged(path: string, mayCopy: boolean): Promise<Opened> {
  const stamp = await Stamp.of(path);
  const way = await wayOf(path);
  if (way !== "copy") {
    try {
      return { connection: await openReading(path, way), way, stamp };
    } catch (error) {
      if (!mayCopy || !isRefusedToReader(error)) throw error;
    }
  }
  if (!mayCopy) throw new RecoveryNeeded();
  return openCopy(path);
}

/** Opens the file and reads something, because SQLite finds out with the first read whether a database must be recovered. */
async function openReading(path: string, way: "locked" | "immutable" | "recover"): Promise<SqliteConnection> {
  const connection = await SqliteConnection.openToRead(path, way);
  try {
    await (await connection.prepare(`SELECT count(*) FROM ${connection.schema}.sqlite_master`)).all();
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function wayOf(path: string): Promise<Way> {
  const hasIndex = existsSync(`${path}-shm`);
  if (sizeOf(`${path}-wal`) > 0) return hasIndex ? "locked" : "copy";
  if (hasIndex && existsSync(`${path}-wal`)) return "locked";
  return (await isInWalMode(path)) ? "immutable" : "locked";
}

/** The offset of the two bytes of a database's header that name the journal mode, and their value in WAL mode. */
const MODE_OFFSET = 18;
const WAL_MODE = 2;

async function isInWalMode(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, MODE_OFFSET);
    return bytesRead === 2 && buffer[1] === WAL_MODE;
  } finally {
    await file.close();
  }
}

const COPIED_SUFFIXES = ["", "-wal", "-journal"] as const;

/** Opens a private copy, in which SQLite recovers the content. The copy is removed at once, so that no process leaves it behind. */
async function openCopy(path: string): Promise<Opened> {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt += 1) {
    const stamp = await Stamp.of(path);
    const folder = await mkdtemp(join(tmpdir(), "bolthole-read-"));
    try {
      const copy = join(folder, basename(path));
      for (const suffix of COPIED_SUFFIXES) await copyIfPresent(path + suffix, copy + suffix);
      if (!stamp.isCurrent()) continue;
      return { connection: await openReading(copy, "recover"), way: "copy", stamp };
    } finally {
      // SQLite has opened what it needs.
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw changedTooOften(path);
}

async function copyIfPresent(from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await chmod(to, 0o600);
  } catch (cause) {
    throw new UnusableFileError(
      `${from} could not be copied to ${to}: ${(cause as Error).message}; its database must be recovered before it can be read, ` +
        "which is done in a copy. Choose a folder with enough room by the variable TMPDIR",
      { cause },
    );
  }
}

/** A change within this time of the one before may leave the time of the file as it is. */
const TIME_STEP_MS = 50;
/** The same for file systems that store whole seconds. */
const LONG_TIME_STEP_MS = 2000;

/** The state of the files of a database, as far as it can be seen without reading them. */
class Stamp {
  private constructor(
    private readonly path: string,
    private readonly text: string,
  ) {}

  /** Waits until a further change is certain to be seen. */
  static async of(path: string): Promise<Stamp> {
    for (;;) {
      const [text, lastMs, stepMs] = stateOf(path);
      const age = Date.now() - lastMs;
      // A time in the future is not that of the next change.
      if (age < 0 || age > stepMs) return new Stamp(path, text);
      await setTimeout(stepMs - age + 1);
    }
  }

  isCurrent(): boolean {
    return stateOf(this.path)[0] === this.text;
  }
}

function stateOf(path: string): [text: string, lastChangeMs: number, stepMs: number] {
  const found = COPIED_SUFFIXES.map((suffix) => statSync(path + suffix, { bigint: true, throwIfNoEntry: false }));
  const describe = (stats: BigIntStats | undefined): string =>
    stats ? [stats.dev, stats.ino, stats.size, stats.mtimeNs].join(" ") : "";
  const times = found.flatMap((stats) => (stats ? [stats.mtimeNs] : []));
  const last = times.reduce((one, other) => (one > other ? one : other), 0n);
  const isWhole = last % 1_000_000_000n === 0n;
  return [found.map(describe).join("\n"), Number(last / 1_000_000n), isWhole ? LONG_TIME_STEP_MS : TIME_STEP_MS];
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

const changedTooOften = (path: string): UnusableFileError =>
  new UnusableFileError(
    `${path} was written by another process during each of ${MAX_ATTEMPTS} reads; stop that process, and repeat the command`,
  );

/** Waits for a promise. Returns a function that returns its value or throws its error. */
const settledOf = <T>(promise: Promise<T>): Promise<() => T> =>
  promise.then(
    (value) => () => value,
    (error: unknown) => () => {
      throw error;
    },
  );

/** Translates an error of SQLite, or of the operating system, into an UnusableFileError. */
export async function withReason<T>(path: string, verb: "read" | "written", work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof Error) || !("code" in cause)) throw cause;
    if (isNoDatabase(cause)) {
      const advice = verb === "read" ? "name a database of Meerkat" : "name a database of Meerkat, or a new file";
      throw new UnusableFileError(`${path} is not a SQLite database; ${advice}`, { cause });
    }
    const advice = isBusy(cause)
      ? "another process has locked it for too long; repeat the command, or stop that process"
      : `check that this user may use it and has room on the disk, and check it with SQLite's PRAGMA integrity_check`;
    throw new UnusableFileError(`${path} cannot be ${verb}: ${cause.message}; ${advice}`, { cause });
  }
}
