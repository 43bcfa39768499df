import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { ImportResult, RuntimeContents, RuntimeId } from "@bolthole/contract";
import { SqliteConnection, type Value } from "./connection.js";
import { type MeerkatRows, fromMeerkat, toMeerkat } from "./meerkat-rows.js";
import { PLACES, type ReferenceTable } from "./reference-place.js";
import { UnusableFileError, claimReferenceSchema, isEmpty } from "./schema.js";

const OAUTH_ID = "auth_oauth_flow_state";
const RUNTIME_PLACES = Object.values(PLACES).filter(({ keys }) => keys[0] === "runtime_id");

/** The name of a runtime, or nothing where the file has one that is no UTF-8 text. */
export interface ListedRuntime {
  readonly runtimeId: RuntimeId | undefined;
  /** For people. */
  readonly name: string;
}

/** A database of the reference, without a store over it: for moving in and out. */
export class MeerkatFile {
  private constructor(private readonly connection: SqliteConnection) {}

  /** Nothing is written to it. */
  static async openToRead(file: string): Promise<MeerkatFile> {
    if (!existsSync(file)) throw new UnusableFileError(`there is no file ${file}`);
    return open(file, async (connection) => {
      if (await isEmpty(connection, file)) throw new UnusableFileError(`${file} is empty`);
      await connection.exec("PRAGMA query_only=ON");
      return new MeerkatFile(connection);
    });
  }

  /** Makes it when there is none. */
  static openToWrite(file: string): Promise<MeerkatFile> {
    return open(file, async (connection) => {
      await claimReferenceSchema(connection, file);
      return new MeerkatFile(connection);
    });
  }

  /** In order of their ids. */
  async runtimes(): Promise<ListedRuntime[]> {
    const ids = await this.all(
      RUNTIME_PLACES.map(({ table }) => `SELECT CAST(runtime_id AS BLOB) FROM ${table}`).join(" UNION ") +
        " ORDER BY 1",
    );
    return ids.map(([id]) => {
      const bytes = Buffer.isBuffer(id) ? id : undefined;
      const text = bytes?.toString("utf8");
      const isText = bytes !== undefined && Buffer.from(text ?? "", "utf8").equals(bytes);
      return isText ? { runtimeId: text, name: text ?? "" } : { runtimeId: undefined, name: text ?? "NULL" };
    });
  }

  /** All rows of one runtime, as of one moment. */
  async read(runtimeId: RuntimeId): Promise<MeerkatRows> {
    await this.connection.exec("BEGIN");
    try {
      return await this.rowsOf(runtimeId);
    } finally {
      await this.connection.exec("COMMIT");
    }
  }

  /** Puts a whole runtime in the place of whatever is there, all or nothing. */
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

  /** The statements that made its tables and indexes, in order of their names. */
  async schema(): Promise<string[]> {
    const made = await this.all("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name");
    return made.map(([sql]) => String(sql));
  }

  async readOauth(): Promise<Buffer | undefined> {
    const [row] = await this.select("oauth", OAUTH_ID);
    return row && blobOf(row[1]);
  }

  writeOauth(snapshot: Buffer): Promise<void> {
    return this.insert("oauth", OAUTH_ID, snapshot);
  }

  /** Leaves one file that is the whole database. */
  async close(): Promise<void> {
    const [mode] = await this.all("PRAGMA query_only");
    if (mode?.[0] === 0) await this.connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.connection.close();
  }

  private async rowsOf(runtimeId: RuntimeId): Promise<MeerkatRows> {
    const single = async (table: ReferenceTable): Promise<Buffer | undefined> => {
      const [row] = await this.select(table, runtimeId);
      return row && blobOf(row[1]);
    };
    const inputs = await this.select("input", runtimeId);
    const receipts = await this.select("receipt", runtimeId);
    return {
      snapshot: await single("snapshot"),
      lifecycle: await single("lifecycle"),
      ops: await single("ops"),
      inputs: inputs.map(([, inputId, json]) => ({ inputId: String(inputId), json: blobOf(json) })),
      receipts: receipts.map(([, runId, sequence, json]) => ({
        runId: String(runId),
        sequence: BigInt(String(sequence)),
        json: blobOf(json),
      })),
    };
  }

  private async replace(runtimeId: RuntimeId, rows: MeerkatRows): Promise<void> {
    for (const { table } of RUNTIME_PLACES) {
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

  /** The rows whose key begins with this, in order of the key: key columns and value. */
  private async select(table: ReferenceTable, first: string): Promise<Value[][]> {
    const { keys, table: name, value } = PLACES[table];
    // As a text: a double holds no such number.
    const columns = keys.map((key) => (key === "sequence" ? "CAST(sequence AS TEXT)" : key));
    return this.all(
      `SELECT ${[...columns, value].join(", ")} FROM ${name} WHERE ${keys[0] ?? ""} = ?1 ORDER BY ${keys.join(", ")}`,
      first,
    );
  }

  private async insert(table: ReferenceTable, ...values: Value[]): Promise<void> {
    const places = values.map((_, index) => `?${index + 1}`).join(", ");
    const insert = await this.connection.prepare(`INSERT OR REPLACE INTO ${PLACES[table].table} VALUES (${places})`);
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

const blobOf = (value: Value | undefined): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(String(value ?? ""), "utf8");

/** Rows are the same when they are so in normal form: the reference writes maps in any order. */
function compare(runtimeId: RuntimeId, there: MeerkatRows, rows: MeerkatRows, overwrite: boolean): ImportResult {
  const { taken, refused, isEmpty } = fromMeerkat(runtimeId, there);
  if (isEmpty && refused.length === 0) return "added";
  if (refused.length === 0 && isDeepStrictEqual(toMeerkat(taken).taken, rows)) return "unchanged";
  return overwrite ? "replaced" : "kept";
}
