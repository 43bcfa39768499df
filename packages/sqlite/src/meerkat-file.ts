import { existsSync } from "node:fs";
import {
  type ExportedPart,
  type ImportResult,
  type RunBoundaryReceipt,
  type RuntimeId,
  type RuntimePart,
  type StoredInputState,
  partsOf,
} from "@bolthole/contract";
import { SqliteConnection, UnusableFileError, type Value } from "./connection.js";
import { ReadOnlyFile, withReason } from "./read-only-file.js";
import { MeerkatCursor, hasRows, readSingles } from "./meerkat-cursor.js";
import {
  type Converted,
  FromMeerkat,
  type MeerkatInput,
  type MeerkatReceipt,
  type MeerkatSingles,
  ToMeerkat,
} from "./meerkat-rows.js";
import { MeerkatTarget } from "./meerkat-target.js";
import { OAUTH_ID, REFERENCE_TABLES, RUNTIME_TABLES, type ReferenceTable, bytesOf } from "./reference-tables.js";
import { claimReferenceSchema, isEmpty, refuseForeign } from "./schema.js";

/** A runtime of a file. */
export interface ListedRuntime {
  /** The id. Undefined when it is not UTF-8 text in the file. */
  readonly runtimeId: RuntimeId | undefined;
  /** The id for messages. */
  readonly name: string;
}

/** All rows of one runtime in memory. */
export interface MeerkatRows extends MeerkatSingles {
  readonly inputs: readonly MeerkatInput[];
  readonly receipts: readonly MeerkatReceipt[];
}

/** A runtime of a file, as long as its transaction is open. */
export interface MeerkatRuntime extends Converted {
  /**
   * Yields the rows that can be converted, for a store. May be called several times. Throws at its end when another program has
   * changed the rows meanwhile: what was received must be discarded then.
   */
  parts(): AsyncIterable<RuntimePart>;
}

export interface MeerkatWrite {
  readonly overwrite: boolean;
  /** True: only the result is worked out. */
  readonly dryRun: boolean;
  /** Called after the last part. Returns whether the runtime is written, although some records may have been left out. */
  isWanted(received: ToMeerkat): boolean;
}

/**
 * The file under a MeerkatFile. `work` of a read may be called again, and sees one state at least in each transaction. It calls
 * `confirm` before it passes on what it read, which throws when the file was changed meanwhile.
 */
interface Source {
  read<T>(work: (connection: SqliteConnection, confirm: () => void) => Promise<T>): Promise<T>;
  /** Runs `work` in a transaction, which is applied completely or not at all. Missing if the file is only read. */
  write?<T>(work: (connection: SqliteConnection) => Promise<T>): Promise<T>;
  close(): void | Promise<void>;
}

/** A database of the reference that is imported from or exported to, without a store over it. */
export class MeerkatFile {
  private constructor(private readonly source: Source) {}

  /** Opens a database that exists. Nothing of it is changed, not even its log or its folder. Throws an UnusableFileError. */
  static async openToRead(file: string): Promise<MeerkatFile> {
    if (!existsSync(file)) throw new UnusableFileError(`there is no file ${file}; name a database of Meerkat`);
    const source = await ReadOnlyFile.open(file);
    try {
      if (await source.read((connection) => isEmpty(connection, file))) {
        throw new UnusableFileError(`${file} is empty; name a database of Meerkat`);
      }
      return new MeerkatFile(source);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** Opens a database, and creates it if it is missing. Throws an UnusableFileError, before anything is written. */
  static async openToWrite(file: string): Promise<MeerkatFile> {
    await refuseForeign(file);
    const connection = await SqliteConnection.open(file);
    try {
      await withReason(file, "written", () => claimReferenceSchema(connection, file));
    } catch (error) {
      await connection.close();
      throw error;
    }
    return new MeerkatFile({
      read: (work) => withReason(file, "read", () => work(connection, () => undefined)),
      write: (work) => withReason(file, "written", () => connection.transaction(() => work(connection))),
      close: async () => {
        try {
          // All of the database is in its one file afterwards.
          await connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        } finally {
          await connection.close();
        }
      },
    });
  }

  /** Returns the runtimes in the order of their ids. */
  async runtimes(): Promise<ListedRuntime[]> {
    const sql =
      RUNTIME_TABLES.map(({ table }) => `SELECT CAST(runtime_id AS BLOB) FROM ${table}`).join(" UNION ") +
      " ORDER BY 1";
    const ids = await this.source.read((connection) => all(connection, sql));
    return ids.map(([id]) => {
      const bytes = Buffer.isBuffer(id) ? id : undefined;
      const text = bytes?.toString("utf8");
      const isText = bytes !== undefined && Buffer.from(text ?? "", "utf8").equals(bytes);
      return isText ? { runtimeId: text, name: text ?? "" } : { runtimeId: undefined, name: text ?? "NULL" };
    });
  }

  /** Returns all rows of one runtime, in one consistent state: for a runtime that is known to be small. */
  read(runtimeId: RuntimeId): Promise<MeerkatRows> {
    return this.source.read((connection) =>
      inOneState(connection, async () => {
        const inputs: MeerkatInput[] = [];
        const receipts: MeerkatReceipt[] = [];
        const cursor = new MeerkatCursor(connection, runtimeId);
        for (let row = await cursor.peek(); row; row = await cursor.peek()) {
          if (row.table === "input") inputs.push(row);
          else receipts.push(row);
          cursor.skip();
        }
        return { ...(await readSingles(connection, runtimeId)), inputs, receipts };
      }),
    );
  }

  /**
   * Calls `use` with one runtime in one consistent state. All of its rows were converted once before, so that it is known which of
   * them are refused; they are read again for each stream of parts, and are never in memory together. `use` may be called again
   * when another program changed the file.
   */
  reading<T>(runtimeId: RuntimeId, use: (runtime: MeerkatRuntime) => Promise<T>): Promise<T> {
    return this.source.read((connection, confirm) =>
      inOneState(connection, async () => {
        const checked = new FromMeerkat();
        const singles = checked.singles(await readSingles(connection, runtimeId));
        const rows = convertedRows(connection, runtimeId, checked);
        while (!(await rows.next()).done);
        const parts = async function* (): AsyncGenerator<RuntimePart, void> {
          yield* partsOf({ ...singles, inputs: [], receipts: [] });
          yield* convertedRows(connection, runtimeId, new FromMeerkat());
          confirm();
        };
        return use({ refused: checked.refused, isEmpty: checked.isEmpty, parts });
      }),
    );
  }

  /**
   * Writes a whole runtime while its parts arrive, completely or not at all. Returns an undefined result when it is not wanted, and
   * nothing was written.
   */
  async write(
    runtimeId: RuntimeId,
    parts: AsyncIterable<ExportedPart>,
    { overwrite, dryRun, isWanted }: MeerkatWrite,
  ): Promise<{ readonly received: ToMeerkat; readonly result: ImportResult | undefined }> {
    const received = new ToMeerkat();
    let isTaken = false;
    const take = async (connection: SqliteConnection): Promise<ImportResult> => {
      if (isTaken)
        throw new UnusableFileError("another process wrote the database during the comparison; repeat the command");
      isTaken = true;
      const exists = await hasRows(connection, runtimeId);
      const target = new MeerkatTarget(connection, runtimeId, { exists, overwrite, dryRun });
      for await (const row of received.rows(parts)) await target.take(row);
      const result = await target.end(await received.singles());
      if (!isWanted(received)) throw new UnwantedError();
      return result;
    };
    try {
      const result = dryRun
        ? await this.source.read((connection) => inOneState(connection, () => take(connection)))
        : await this.writing(take);
      return { received, result };
    } catch (error) {
      if (!(error instanceof UnwantedError)) throw error;
      return { received, result: undefined };
    }
  }

  /** Returns the statements that created the tables and indexes, in the order of their names. */
  async schema(): Promise<string[]> {
    const created = await this.source.read((connection) =>
      all(connection, `SELECT sql FROM ${connection.schema}.sqlite_master WHERE sql IS NOT NULL ORDER BY name`),
    );
    return created.map(([sql]) => String(sql));
  }

  async readOauth(): Promise<Buffer | undefined> {
    const [row] = await this.source.read((connection) => select(connection, "oauth", OAUTH_ID));
    return row && bytesOf(row[1]);
  }

  writeOauth(snapshot: Buffer): Promise<void> {
    return this.writing((connection) => insert(connection, "oauth", OAUTH_ID, snapshot));
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  private writing<T>(work: (connection: SqliteConnection) => Promise<T>): Promise<T> {
    if (!this.source.write) throw new Error("the database was opened to be read only");
    return this.source.write(work);
  }
}

async function inOneState<T>(connection: SqliteConnection, read: () => Promise<T>): Promise<T> {
  await connection.exec("BEGIN");
  try {
    return await read();
  } finally {
    await connection.exec("COMMIT");
  }
}

/** Ends the transaction of a runtime that is not written. */
class UnwantedError extends Error {}

/** Yields the input rows and receipts of a runtime for a store, in small parts. Refused rows are left out. */
async function* convertedRows(
  connection: SqliteConnection,
  runtimeId: RuntimeId,
  conversion: FromMeerkat,
): AsyncGenerator<RuntimePart, void> {
  const cursor = new MeerkatCursor(connection, runtimeId);
  let inputs: StoredInputState[] = [];
  let receipts: RunBoundaryReceipt[] = [];
  let bytes = 0;
  for (let row = await cursor.peek(); row; row = await cursor.peek()) {
    const input = row.table === "input" ? conversion.input(row) : undefined;
    const receipt = row.table === "receipt" ? conversion.receipt(row) : undefined;
    if (input) inputs.push(input);
    if (receipt) receipts.push(receipt);
    bytes += row.json.length;
    cursor.skip();
    if (bytes < PART_BYTES && inputs.length + receipts.length < PART_ROWS) continue;
    if (inputs.length > 0) yield { kind: "inputs", inputs };
    if (receipts.length > 0) yield { kind: "receipts", receipts };
    inputs = [];
    receipts = [];
    bytes = 0;
  }
  if (inputs.length > 0) yield { kind: "inputs", inputs };
  if (receipts.length > 0) yield { kind: "receipts", receipts };
}

/** The most rows of a part, and the bytes of values at which it ends. */
const PART_ROWS = 256;
const PART_BYTES = 512 << 10;

/** Returns the key columns and the value of the rows whose first key column is `first`, in the order of their keys. */
async function select(connection: SqliteConnection, table: ReferenceTable, first: string): Promise<Value[][]> {
  const { keys, table: name, value } = REFERENCE_TABLES[table];
  // A sequence is read as text, because a JavaScript number cannot hold every 64-bit integer.
  const columns = keys.map((key) => (key === "sequence" ? "CAST(sequence AS TEXT)" : key));
  return all(
    connection,
    `SELECT ${[...columns, value].join(", ")} FROM ${name} WHERE ${keys[0] ?? ""} = ?1 ORDER BY ${keys.join(", ")}`,
    first,
  );
}

async function insert(connection: SqliteConnection, table: ReferenceTable, ...values: Value[]): Promise<void> {
  const parameters = values.map((_, index) => `?${index + 1}`).join(", ");
  const statement = await connection.prepare(
    `INSERT OR REPLACE INTO ${REFERENCE_TABLES[table].table} VALUES (${parameters})`,
  );
  await statement.run(...values);
}

const all = async (connection: SqliteConnection, sql: string, ...values: Value[]): Promise<Value[][]> =>
  (await connection.prepare(sql)).all(...values);

/** A row of a table of the reference as another program writes it, without any rule of the store. */
export interface RawRow {
  /** The name of a table of the reference. */
  readonly table: string;
  /** The values of the key columns. A sequence is a bigint. */
  readonly key: Readonly<Record<string, string | bigint>>;
  readonly value: Buffer;
}

/** Writes an external row as another process would, over another connection. For tests of shared files. */
export async function putRawRow(file: string, { table, key, value }: RawRow): Promise<void> {
  const columns = Object.values(REFERENCE_TABLES).find((one) => one.table === table);
  if (!columns) throw new RangeError(`the reference has no table ${table}`);
  const connection = await SqliteConnection.open(file);
  try {
    const names = [...columns.keys, columns.value];
    const put = await connection.prepare(
      `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${names.map((_, at) => `?${at + 1}`).join(", ")})`,
    );
    await put.run(...columns.keys.map((name) => key[name] ?? null), value);
  } finally {
    await connection.close();
  }
}
