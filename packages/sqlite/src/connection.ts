import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import Database from "libsql/promise";

/** A value of a column. */
export type Value = string | number | bigint | Buffer | null;

/** The part of the driver's interface that is used here. */
interface DriverStatement {
  readonly reader: boolean;
  raw(toggle: boolean): this;
  run(values: readonly Value[]): { readonly changes: number };
  get(values: readonly Value[]): unknown[] | undefined;
  all(values: readonly Value[]): Promise<unknown[][]>;
}
interface Driver {
  prepare(sql: string): Promise<DriverStatement>;
  exec(sql: string): Promise<void>;
  close(): void;
}

/** Thrown when a database file cannot be used. The text says why, and what to do. */
export class UnusableFileError extends Error {
  override readonly name = "UnusableFileError";
}

/** The longest wait for the lock of another process while a file is opened, moved or written as a whole. */
const LOCK_WAIT_MS = 5000;

/**
 * A connection to a SQLite database. This is the only file that uses the driver, so it holds every choice that the promise
 * "acknowledged means durable" depends on.
 *
 * `journal_mode=WAL`: as in the reference (contract 13.2). Readers of other processes continue while a change is written. All
 * processes that share a file must use the same mode.
 *
 * `synchronous=FULL`: COMMIT returns after the write-ahead log is flushed. With NORMAL, the log is flushed only at a
 * checkpoint, so a power cut would lose acknowledged changes.
 *
 * `fullfsync=ON`: on macOS, an ordinary flush does not reach the disk. Other systems ignore this setting.
 *
 * `BEGIN IMMEDIATE` for every change: the write lock is taken before the first read. With a plain BEGIN, two processes can
 * read the same state, and the later one fails when it begins to write.
 *
 * `exec` for the statements that take a lock, and for COMMIT of changes: only these wait for a lock or a flush, and the driver runs
 * `exec` in another thread. With a prepared statement, the event loop would wait.
 *
 * `timeout`: SQLite waits this long for another process's lock before it fails with SQLITE_BUSY. A store sets it to zero when it is
 * open, because the connection would be occupied during the wait (`transactions.ts`).
 *
 * Wait for each call before the next one: the driver locks the connection during a call.
 */
export class SqliteConnection {
  private constructor(
    private readonly driver: Driver,
    /** The name of the database in statements that name it, such as those that read its table of tables. */
    readonly schema: "main" | "source",
  ) {}

  /**
   * Opens the file, and creates it if it is missing; its folder must exist. Writes nothing to it. Throws an UnusableFileError
   * when SQLite cannot open it.
   */
  static async open(path: string): Promise<SqliteConnection> {
    let connection: SqliteConnection;
    try {
      // The driver takes some relative paths for something else: `:memory:`, `file:...`, and addresses of servers.
      connection = new SqliteConnection(new Database(resolve(path), { timeout: LOCK_WAIT_MS }), "main");
    } catch (cause) {
      if (existsSync(path) && statSync(path).isDirectory()) {
        throw new UnusableFileError(`${path} is a folder; name a database of Meerkat, or a new file`, { cause });
      }
      throw new UnusableFileError(
        `${path} cannot be opened or created; name a file in an existing folder, and make both readable and writable for this user`,
        { cause },
      );
    }
    await connection.distrust();
    return connection;
  }

  /**
   * Opens a file that exists, to read it. The file is attached to an empty database in memory: the driver keeps a closed connection
   * until its statements are collected as garbage, and with it the locks and the access mode of the file for the whole process. A
   * file that is detached is really closed.
   *
   * `locked`: with SQLite's locks, beside processes that write. Nothing is written: neither to the file, nor to its log, nor to its
   * folder. Without `readonly_shm`, SQLite would write to the index of the log, or make one. The driver's own option for a connection
   * that only reads has no effect.
   *
   * `immutable`: without locks, and without a look for a log. Only for a file that has no log and that no process writes.
   *
   * `recover`: as SQLite opens any file. What a crash left is written into the file.
   */
  static async openToRead(path: string, way: "locked" | "immutable" | "recover"): Promise<SqliteConnection> {
    const url = pathToFileURL(resolve(path));
    url.searchParams.set("mode", way === "recover" ? "rw" : "ro");
    if (way !== "recover") url.searchParams.set(way === "locked" ? "readonly_shm" : "immutable", "1");
    const connection = new SqliteConnection(new Database(":memory:", { timeout: LOCK_WAIT_MS }), "source");
    try {
      await connection.distrust();
      await connection.exec(`ATTACH DATABASE '${url.href.replaceAll("'", "''")}' AS source`);
      return connection;
    } catch (error) {
      connection.driver.close();
      throw error;
    }
  }

  /**
   * Prepares for a file that another program, or an attacker, has made. `trusted_schema=OFF`: its indexes, triggers and views may not call
   * functions with side effects. `cell_size_check=ON`: damaged pages are found when they are read.
   */
  private async distrust(): Promise<void> {
    await this.exec("PRAGMA trusted_schema=OFF");
    await this.exec("PRAGMA cell_size_check=ON");
    // As in SQLite itself: the driver would check the keys of other tables.
    await this.exec("PRAGMA foreign_keys=OFF");
  }

  /** Applies the settings that make changes durable. Returns the journal mode of the file, which must be "wal". */
  async makeDurable(): Promise<string> {
    await this.exec("PRAGMA journal_mode=WAL");
    await this.exec("PRAGMA synchronous=FULL");
    await this.exec("PRAGMA fullfsync=ON");
    return String((await (await this.prepare("PRAGMA journal_mode")).get())?.[0]);
  }

  /** Makes SQLite refuse a lock that another process holds at once. For a caller that waits without the connection. */
  async refuseLocksAtOnce(): Promise<void> {
    await this.exec("PRAGMA busy_timeout=0");
  }

  /** Runs statements that return no rows, outside the event loop. */
  async exec(sql: string): Promise<void> {
    await this.driver.exec(sql);
  }

  /** Runs `work` in a transaction, which is applied completely or not at all. Other writers wait until it ends. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.exec("BEGIN IMMEDIATE");
    try {
      const result = await work();
      await this.exec("COMMIT");
      return result;
    } catch (error) {
      // The failure may have ended the transaction already.
      await this.exec("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }

  async prepare(sql: string): Promise<Statement> {
    return new Statement(await this.driver.prepare(sql));
  }

  async close(): Promise<void> {
    try {
      if (this.schema === "source") await this.exec("DETACH DATABASE source");
    } finally {
      this.driver.close();
    }
  }
}

/** A prepared statement. A row is the list of its columns. */
export class Statement {
  constructor(private readonly statement: DriverStatement) {
    if (statement.reader) statement.raw(true);
  }

  /** Returns the number of rows that were changed. */
  // Values are always passed as one list: the driver would treat a single buffer as named values, and end the process.
  // eslint-disable-next-line @typescript-eslint/require-await -- this driver is synchronous here, another one may not be
  async run(...values: Value[]): Promise<number> {
    return this.statement.run(values).changes;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- see above
  async get(...values: Value[]): Promise<Value[] | undefined> {
    return this.statement.get(values)?.map(valueOf);
  }

  async all(...values: Value[]): Promise<Value[][]> {
    return (await this.statement.all(values)).map((row) => row.map(valueOf));
  }
}

/** Converts a column. The driver returns blobs as ArrayBuffer or as Buffer. */
const valueOf = (value: unknown): Value => (value instanceof ArrayBuffer ? Buffer.from(value) : (value as Value));

const codeOf = (error: unknown): string => String((error as { code?: unknown } | undefined)?.code);

/** The result codes of SQLite by which a lock is refused. The low byte of an extended code is one of them. */
const LOCK_CODES: Readonly<Record<string, number>> = { SQLITE_BUSY: 5, SQLITE_LOCKED: 6, SQLITE_PROTOCOL: 15 };

/**
 * Whether a lock was refused, because another process holds it. SQLite reports this as SQLITE_BUSY, SQLITE_LOCKED, or after ten seconds
 * as SQLITE_PROTOCOL. The driver has no names for some of the extended codes.
 */
export function isBusy(error: unknown): boolean {
  const { rawCode } = (error ?? {}) as { readonly rawCode?: unknown };
  const isNumbered = typeof rawCode === "number" && Object.values(LOCK_CODES).includes(rawCode & 0xff);
  return isNumbered || Object.keys(LOCK_CODES).some((name) => codeOf(error).startsWith(name));
}

/**
 * Whether the driver has lost the code of an error. It asks for the code after the statement has failed, and the garbage collection may
 * end another statement of the connection in between.
 */
export const hasLostCode = (error: unknown): boolean => codeOf(error) === "SQLITE_OK";

/** Whether a connection that only reads could not read the file, because something must be written first. */
export const isRefusedToReader = (error: unknown): boolean =>
  codeOf(error).startsWith("SQLITE_READONLY") || codeOf(error).startsWith("SQLITE_CANTOPEN");

/** Whether the disk is full. */
export const isFull = (error: unknown): boolean => codeOf(error) === "SQLITE_FULL";

/** Whether the file is not a SQLite database. */
export const isNoDatabase = (error: unknown): boolean => codeOf(error) === "SQLITE_NOTADB";
