import { randomUUID } from "node:crypto";
import { type SqliteConnection, isNoDatabase } from "./connection.js";

/** Of our own tables. Raised with every change that an older daemon would misread. */
export const FORMAT_VERSION = 1;

/** The file cannot be used; the text says why and what to do. */
export class UnusableFileError extends Error {
  override readonly name = "UnusableFile";
}

/** Which store this is. */
export interface Identity {
  readonly storeId: string;
  readonly epoch: string;
}

interface Column {
  readonly name: string;
  readonly type: "TEXT" | "INTEGER" | "BLOB";
  /** Its place in the primary key, from 1. */
  readonly key?: number;
  /** A key of one column may be null in the reference's tables. */
  readonly nullable?: true;
}

const id: Column = { name: "runtime_id", type: "TEXT", key: 1 };
const onlyId: Column = { ...id, nullable: true };
const blob = (name: string): Column => ({ name, type: "BLOB" });

/** The tables of the reference's runtime store (section 9.1). */
const RUNTIME_TABLES: Readonly<Record<string, readonly Column[]>> = {
  runtime_input_states: [id, { name: "input_id", type: "TEXT", key: 2 }, blob("state_json")],
  runtime_boundary_receipts: [
    id,
    { name: "run_id", type: "TEXT", key: 2 },
    { name: "sequence", type: "INTEGER", key: 3 },
    blob("receipt_json"),
  ],
  runtime_session_snapshots: [onlyId, blob("session_snapshot")],
  runtime_states: [onlyId, blob("runtime_state_json")],
  runtime_ops_lifecycle: [onlyId, blob("state_json")],
  runtime_auth_oauth_flow_state: [{ ...onlyId, name: "id" }, blob("state_json")],
};

/** Made with them, for the reference's session store, which shares the file. Nothing here reads or writes it. */
const SESSION_STORE = [
  `CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    metadata_json TEXT NOT NULL,
    session_json BLOB NOT NULL
)`,
  `CREATE INDEX sessions_updated_idx
ON sessions(updated_at_ms DESC, session_id ASC)`,
];

/**
 * What Bolthole keeps beside the reference's rows: the commit that wrote each one, and what has no place there. A row of
 * `head`, `outcome` or `tally` is here alone.
 */
const OWN_TABLES = [
  `CREATE TABLE IF NOT EXISTS bolthole_store (
    format INTEGER NOT NULL,
    store_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    sequence INTEGER NOT NULL
)`,
  `CREATE TABLE IF NOT EXISTS bolthole_rows (
    runtime_id TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    value BLOB,
    PRIMARY KEY (runtime_id, name, id)
) WITHOUT ROWID`,
];

/** Makes what is missing: all of an empty file, or our tables. Looks at the file before anything is written to it. */
export async function claimSchema(connection: SqliteConnection, path: string): Promise<Identity> {
  await claimReferenceSchema(connection, path);
  return connection.transaction(async () => {
    for (const sql of OWN_TABLES) await connection.exec(sql);
    return loadIdentity(connection);
  });
}

/** The same without our tables, as the reference itself leaves a file. */
export async function claimReferenceSchema(connection: SqliteConnection, path: string): Promise<void> {
  const isNew = await isEmpty(connection, path);
  const mode = await connection.makeDurable();
  if (mode !== "wal") throw new UnusableFileError(`${path} cannot be kept in WAL mode here (it is in ${mode})`);
  if (!isNew) return;
  await connection.transaction(async () => {
    // Another process may have been faster.
    if ((await tableNames(connection)).length > 0) return;
    for (const [table, columns] of Object.entries(RUNTIME_TABLES)) await connection.exec(ddlOf(table, columns));
    for (const sql of SESSION_STORE) await connection.exec(sql);
  });
}

function ddlOf(table: string, columns: readonly Column[]): string {
  const keys = columns.filter(({ key }) => key !== undefined);
  const lines = columns.map(({ name, type, key }) => {
    const constraint = key !== undefined && keys.length === 1 ? "PRIMARY KEY" : "NOT NULL";
    return `    ${name} ${type} ${constraint}`;
  });
  if (keys.length > 1) lines.push(`    PRIMARY KEY (${keys.map(({ name }) => name).join(", ")})`);
  return `CREATE TABLE ${table} (\n${lines.join(",\n")}\n)`;
}

/** Whether the file is empty. Refuses one that is neither empty nor the reference's, and one of a newer Bolthole. */
export async function isEmpty(connection: SqliteConnection, path: string): Promise<boolean> {
  let tables: string[];
  try {
    tables = await tableNames(connection);
  } catch (cause) {
    if (!isNoDatabase(cause)) throw cause;
    throw new UnusableFileError(`${path} is not a SQLite database; name a database of Meerkat's, or a new file`, {
      cause,
    });
  }
  if (tables.length === 0) return true;
  const missing = Object.keys(RUNTIME_TABLES).filter((name) => !tables.includes(name));
  if (missing.length > 0) {
    throw new UnusableFileError(
      `${path} is not a database of Meerkat's runtime store: it has ${tables.slice(0, 3).join(", ")}, and no ` +
        `${missing.slice(0, 3).join(", ")}; name one, or a new file`,
    );
  }
  for (const [table, columns] of Object.entries(RUNTIME_TABLES)) {
    const found = await columnsOf(connection, table);
    if (found !== describe(columns)) {
      throw new UnusableFileError(
        `${path} is of another version of Meerkat: ${table} has ${found}, not ${describe(columns)}`,
      );
    }
  }
  if (!tables.includes("bolthole_store")) return false;
  const format = Number((await (await connection.prepare("SELECT format FROM bolthole_store")).get())?.[0] ?? 0);
  if (format > FORMAT_VERSION) {
    throw new UnusableFileError(
      `${path} has tables of Bolthole's format ${format}, this Bolthole reads up to ${FORMAT_VERSION}; use a newer one`,
    );
  }
  return false;
}

async function tableNames(connection: SqliteConnection): Promise<string[]> {
  const statement = await connection.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
  );
  return (await statement.all()).map(([name]) => String(name));
}

const describe = (columns: readonly Column[]): string =>
  columns
    .map(({ name, type, key, nullable }) => `${name} ${type}${nullable ? "" : " not null"}${key ? ` key ${key}` : ""}`)
    .join(", ");

async function columnsOf(connection: SqliteConnection, table: string): Promise<string> {
  const statement = await connection.prepare('SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid');
  const columns = (await statement.all(table)).map(
    ([name, type, notNull, key]) =>
      ({
        name: String(name),
        type: String(type) as Column["type"],
        ...(notNull === 0 && { nullable: true }),
        ...(key !== 0 && { key: Number(key) }),
      }) satisfies Column,
  );
  return describe(columns);
}

/** Made once, with our tables. */
async function loadIdentity(connection: SqliteConnection): Promise<Identity> {
  const stored = await (await connection.prepare("SELECT store_id, epoch FROM bolthole_store")).get();
  if (stored) return { storeId: String(stored[0]), epoch: String(stored[1]) };
  const identity: Identity = { storeId: randomUUID(), epoch: randomUUID().slice(0, 8) };
  const insert = await connection.prepare("INSERT INTO bolthole_store VALUES (?, ?, ?, 0)");
  await insert.run(FORMAT_VERSION, identity.storeId, identity.epoch);
  return identity;
}
