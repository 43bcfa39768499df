import { existsSync, statSync } from "node:fs";
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

/** The longest wait for the lock of another process, as in the reference (contract 13.2). */
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
 * `exec` for BEGIN IMMEDIATE and COMMIT of changes: only these wait for a lock or a flush, and the driver runs `exec` in
 * another thread. With a prepared statement, the event loop would wait.
 *
 * `timeout`: SQLite waits this long for another process's lock before it fails with SQLITE_BUSY.
 *
 * Wait for each call before the next one: the driver locks the connection during a call.
 */
export class SqliteConnection {
  private constructor(private readonly driver: Driver) {}

  /**
   * Opens the file, and creates it if it is missing; its folder must exist. Writes nothing to it. Throws an UnusableFileError
   * when SQLite cannot open it.
   */
  static open(path: string): SqliteConnection {
    try {
      return new SqliteConnection(new Database(path, { timeout: LOCK_WAIT_MS }));
    } catch (cause) {
      if (existsSync(path) && statSync(path).isDirectory()) {
        throw new UnusableFileError(`${path} is a folder; name a database of Meerkat, or a new file`, { cause });
      }
      throw new UnusableFileError(
        `${path} cannot be opened or created; name a file in an existing folder, and make both readable and writable for this user`,
        { cause },
      );
    }
  }

  /** Applies the settings that make changes durable. Returns the journal mode of the file, which must be "wal". */
  async makeDurable(): Promise<string> {
    await this.exec("PRAGMA journal_mode=WAL");
    await this.exec("PRAGMA synchronous=FULL");
    await this.exec("PRAGMA fullfsync=ON");
    return String((await (await this.prepare("PRAGMA journal_mode")).get())?.[0]);
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

  close(): void {
    this.driver.close();
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

/** Whether another process held the lock for longer than the timeout. */
export const isBusy = (error: unknown): boolean => codeOf(error).startsWith("SQLITE_BUSY");

/** Whether the file is not a SQLite database. */
export const isNoDatabase = (error: unknown): boolean => codeOf(error) === "SQLITE_NOTADB";
