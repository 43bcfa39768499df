import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { ImportResult, RuntimeContents, RuntimeId } from "@bolthole/contract";
import { SqliteConnection, UnusableFileError, type Value } from "./connection.js";
import { type MeerkatRows, fromMeerkat, toMeerkat } from "./meerkat-rows.js";
import { OAUTH_ID, REFERENCE_TABLES, RUNTIME_TABLES, type ReferenceTable, bytesOf } from "./reference-tables.js";
import { claimReferenceSchema, isEmpty } from "./schema.js";

/** A runtime of a file. */
export interface ListedRuntime {
  /** The id. Undefined when it is not UTF-8 text in the file. */
  readonly runtimeId: RuntimeId | undefined;
  /** The id for messages. */
  readonly name: string;
}

/** A database of the reference that is imported from or exported to, without a store over it. */
export class MeerkatFile {
  private constructor(private readonly connection: SqliteConnection) {}

  /** Opens a database that exists. It cannot be changed. Throws an UnusableFileError. */
  static async openToRead(file: string): Promise<MeerkatFile> {
    if (!existsSync(file)) throw new UnusableFileError(`there is no file ${file}; name a database of Meerkat`);
    return open(file, async (connection) => {
      if (await isEmpty(connection, file)) {
        throw new UnusableFileError(`${file} is empty; name a database of Meerkat`);
      }
      await connection.exec("PRAGMA query_only=ON");
      return new MeerkatFile(connection);
    });
  }

  /** Opens a database, and creates it if it is missing. Throws an UnusableFileError. */
  static openToWrite(file: string): Promise<MeerkatFile> {
    return open(file, async (connection) => {
      await claimReferenceSchema(connection, file);
      return new MeerkatFile(connection);
    });
  }

  /** Returns the runtimes in the order of their ids. */
  async runtimes(): Promise<ListedRuntime[]> {
    const ids = await this.all(
      RUNTIME_TABLES.map(({ table }) => `SELECT CAST(runtime_id AS BLOB) FROM ${table}`).join(" UNION ") +
        " ORDER BY 1",
    );
    return ids.map(([id]) => {
      const bytes = Buffer.isBuffer(id) ? id : undefined;
      const text = bytes?.toString("utf8");
      const isText = bytes !== undefined && Buffer.from(text ?? "", "utf8").equals(bytes);
      return isText ? { runtimeId: text, name: text ?? "" } : { runtimeId: undefined, name: text ?? "NULL" };
    });
  }

  /** Returns all rows of one runtime, in one consistent state. */
  async read(runtimeId: RuntimeId): Promise<MeerkatRows> {
    await this.connection.exec("BEGIN");
    try {
      return await this.rowsOf(runtimeId);
    } finally {
      await this.connection.exec("COMMIT");
    }
  }

  /** Writes a whole runtime, completely or not at all. With `dryRun`, only the result is worked out. */
  async write(
    { runtimeId }: RuntimeContents,
    rows: MeerkatRows,
    overwrite: boolean,
    dryRun: boolean,
  ): Promise<ImportResult> {
    return this.connection.transaction(async () => {
      const result = compare(runtimeId, await this.rowsOf(runtimeId), rows, overwrite);
      if (!dryRun && (result === "added" || result === "replaced")) await this.replace(runtimeId, rows);
      return result;
    });
  }

  /** Returns the statements that created the tables and indexes, in the order of their names. */
  async schema(): Promise<string[]> {
    const created = await this.all("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name");
    return created.map(([sql]) => String(sql));
  }

  async readOauth(): Promise<Buffer | undefined> {
    const [row] = await this.select("oauth", OAUTH_ID);
    return row && bytesOf(row[1]);
  }

  writeOauth(snapshot: Buffer): Promise<void> {
    return this.insert("oauth", OAUTH_ID, snapshot);
  }

  /** Closes the database, after all of it was written into its one file. */
  async close(): Promise<void> {
    const [mode] = await this.all("PRAGMA query_only");
    if (mode?.[0] === 0) await this.connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.connection.close();
  }

  private async rowsOf(runtimeId: RuntimeId): Promise<MeerkatRows> {
    const single = async (table: ReferenceTable): Promise<Buffer | undefined> => {
      const [row] = await this.select(table, runtimeId);
      return row && bytesOf(row[1]);
    };
    const inputs = await this.select("input", runtimeId);
    const receipts = await this.select("receipt", runtimeId);
    return {
      snapshot: await single("snapshot"),
      lifecycle: await single("lifecycle"),
      ops: await single("ops"),
      inputs: inputs.map(([, inputId, json]) => ({ inputId: String(inputId), json: bytesOf(json) })),
      receipts: receipts.map(([, runId, sequence, json]) => ({
        runId: String(runId),
        sequence: BigInt(String(sequence)),
        json: bytesOf(json),
      })),
    };
  }

  private async replace(runtimeId: RuntimeId, rows: MeerkatRows): Promise<void> {
    for (const { table } of RUNTIME_TABLES) {
      await (await this.connection.prepare(`DELETE FROM ${table} WHERE runtime_id = ?1`)).run(runtimeId);
    }
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      if (rows[table]) await this.insert(table, runtimeId, rows[table]);
    }
    for (const { inputId, json } of rows.inputs) await this.insert("input", runtimeId, inputId, json);
    for (const { runId, sequence, json } of rows.receipts) {
      await this.insert("receipt", runtimeId, runId, sequence, json);
    }
  }

  /** Returns the key columns and the value of the rows whose first key column is `first`, in the order of their keys. */
  private async select(table: ReferenceTable, first: string): Promise<Value[][]> {
    const { keys, table: name, value } = REFERENCE_TABLES[table];
    // A sequence is read as text, because a JavaScript number cannot hold every 64-bit integer.
    const columns = keys.map((key) => (key === "sequence" ? "CAST(sequence AS TEXT)" : key));
    return this.all(
      `SELECT ${[...columns, value].join(", ")} FROM ${name} WHERE ${keys[0] ?? ""} = ?1 ORDER BY ${keys.join(", ")}`,
      first,
    );
  }

  private async insert(table: ReferenceTable, ...values: Value[]): Promise<void> {
    const parameters = values.map((_, index) => `?${index + 1}`).join(", ");
    const insert = await this.connection.prepare(
      `INSERT OR REPLACE INTO ${REFERENCE_TABLES[table].table} VALUES (${parameters})`,
    );
    await insert.run(...values);
  }

  private async all(sql: string, ...values: Value[]): Promise<Value[][]> {
    return (await this.connection.prepare(sql)).all(...values);
  }
}

async function open(file: string, use: (connection: SqliteConnection) => Promise<MeerkatFile>): Promise<MeerkatFile> {
  const connection = SqliteConnection.open(file);
  try {
    return await use(connection);
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Compares rows by their canonical JSON, because the reference writes the members of maps in any order. */
function compare(runtimeId: RuntimeId, stored: MeerkatRows, rows: MeerkatRows, overwrite: boolean): ImportResult {
  const { taken, refused, isEmpty } = fromMeerkat(runtimeId, stored);
  if (isEmpty && refused.length === 0) return "added";
  if (refused.length === 0 && isDeepStrictEqual(toMeerkat(taken).taken, rows)) return "unchanged";
  return overwrite ? "replaced" : "kept";
}

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
  const connection = SqliteConnection.open(file);
  try {
    const names = [...columns.keys, columns.value];
    const put = await connection.prepare(
      `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${names.map((_, at) => `?${at + 1}`).join(", ")})`,
    );
    await put.run(...columns.keys.map((name) => key[name] ?? null), value);
  } finally {
    connection.close();
  }
}
