import Database from "libsql/promise";

export type Value = string | number | bigint | Buffer | null;

/** What of the driver is used. */
interface DriverStatement {
  readonly reader: boolean;
  raw(toggle: boolean): this;
  run(values: readonly Value[]): unknown;
  get(values: readonly Value[]): unknown[] | undefined;
  all(values: readonly Value[]): Promise<unknown[][]>;
}
interface Driver {
  prepare(sql: string): Promise<DriverStatement>;
  exec(sql: string): Promise<void>;
  close(): void;
}

/** How long a change waits for another process that writes. As the reference (section 9.2). */
const LOCK_WAIT_MS = 5000;

/**
 * The one file that knows the driver, and every choice that durability hangs on:
 * - WAL and `synchronous=FULL`, as the reference: an answer means that the log is flushed.
 * - `fullfsync`: on macOS a flush reaches the disk only so.
 * - what waits for a lock or a flush goes through `exec`, which the driver runs in a thread of its own.
 *
 * One call at a time: the driver holds the connection during each.
 */
export class SqliteConnection {
  private constructor(private readonly driver: Driver) {}

  /** Opens or makes the file. Nothing is written to it yet. */
  static open(path: string): SqliteConnection {
    return new SqliteConnection(new Database(path, { timeout: LOCK_WAIT_MS }));
  }

  /** Answers the journal mode that the file is in now. */
  async makeDurable(): Promise<string> {
    await this.exec("PRAGMA journal_mode=WAL");
    await this.exec("PRAGMA synchronous=FULL");
    await this.exec("PRAGMA fullfsync=ON");
    return String((await (await this.prepare("PRAGMA journal_mode")).get())?.[0]);
  }

  /** Runs statements without an answer, off the event loop. */
  async exec(sql: string): Promise<void> {
    await this.driver.exec(sql);
  }

  /** All of `work`, or nothing of it; other writers wait meanwhile. */
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

  // Always one list: a lone buffer would be taken for named values, over which the driver ends the process.
  // eslint-disable-next-line @typescript-eslint/require-await -- the driver answers at once, another one might not
  async run(...values: Value[]): Promise<void> {
    this.statement.run(values);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- see above
  async get(...values: Value[]): Promise<Value[] | undefined> {
    return this.statement.get(values)?.map(valueOf);
  }

  async all(...values: Value[]): Promise<Value[][]> {
    return (await this.statement.all(values)).map((row) => row.map(valueOf));
  }
}

/** The driver gives blobs in two forms. */
const valueOf = (value: unknown): Value => (value instanceof ArrayBuffer ? Buffer.from(value) : (value as Value));

const codeOf = (error: unknown): string => String((error as { code?: unknown } | undefined)?.code);

/** Another process held the file for longer than we wait. */
export const isBusy = (error: unknown): boolean => codeOf(error).startsWith("SQLITE_BUSY");

export const isNoDatabase = (error: unknown): boolean => codeOf(error) === "SQLITE_NOTADB";
