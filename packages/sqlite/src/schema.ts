import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { type SqliteConnection, UnusableFileError } from "./connection.js";
import { ReadOnlyFile } from "./read-only-file.js";

/** The format version of our own tables. It is raised with every change that an older daemon would misread. */
export const FORMAT_VERSION = 1;

/** The identity of a store. */
export interface Identity {
  /** A UUID. */
  readonly storeId: string;
  /** The first part of every version of this store. */
  readonly epoch: string;
}

interface Column {
  readonly name: string;
  readonly type: "TEXT" | "INTEGER" | "BLOB";
  /** The position in the primary key, from 1. */
  readonly key?: number;
  /** Whether the column may be null: in the reference, that is a primary key of one column. */
  readonly nullable?: true;
}

const id: Column = { name: "runtime_id", type: "TEXT", key: 1 };
const onlyId: Column = { ...id, nullable: true };
const blob = (name: string): Column => ({ name, type: "BLOB" });

/** The tables of the reference's runtime store (contract 13.1). */
const REFERENCE_COLUMNS: Readonly<Record<string, readonly Column[]>> = {
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

/** The tables of the reference's session store, which shares the file. They are created, but never read or written. */
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
 * Our own tables. `bolthole_store` has one row. `bolthole_rows` has a note for each row of core: the commit that wrote it,
 * its checksum, and a value that the reference has no column for. Outcomes and manifests are stored only there.
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

/**
 * Creates the tables that are missing: all of them in an empty file, else only ours. Returns the identity of the store.
 * Throws an UnusableFileError, before anything is written, for a file that is not a database of the reference.
 */
export async function claimSchema(connection: SqliteConnection, path: string): Promise<Identity> {
  await claimReferenceSchema(connection, path);
  return connection.transaction(async () => {
    for (const sql of OWN_TABLES) await connection.exec(sql);
    return loadIdentity(connection);
  });
}

/**
 * Throws an UnusableFileError for a file that is not a database of the reference, before it is opened to be written: SQLite would
 * write the log of any database into the file. A file that must be recovered first is checked when it is opened.
 */
export async function refuseForeign(path: string): Promise<void> {
  if (!isFile(path) || statSync(path).size === 0) return;
  const file = await ReadOnlyFile.openInPlace(path);
  try {
    await file?.read((connection) => isEmpty(connection, path));
  } finally {
    await file?.close();
  }
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/** Creates the tables of the reference in an empty file, as the reference does. Throws an UnusableFileError. */
export async function claimReferenceSchema(connection: SqliteConnection, path: string): Promise<void> {
  const isNew = await isEmpty(connection, path);
  const mode = await connection.makeDurable();
  if (mode !== "wal") {
    throw new UnusableFileError(
      `${path} cannot be opened in WAL mode: expected journal mode "wal", found "${mode}"; put it on a local file system`,
    );
  }
  if (!isNew) return;
  await connection.transaction(async () => {
    // Another process may have created the tables in the meantime.
    if ((await tableNames(connection)).length > 0) return;
    for (const [table, columns] of Object.entries(REFERENCE_COLUMNS)) await connection.exec(ddlOf(table, columns));
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

/**
 * Whether the database is empty. Throws an UnusableFileError for one that is neither empty nor a database of the reference,
 * and for one with a format of our tables that this version does not read.
 */
export async function isEmpty(connection: SqliteConnection, path: string): Promise<boolean> {
  const tables = await tableNames(connection);
  if (tables.length === 0) return true;
  const missing = Object.keys(REFERENCE_COLUMNS).filter((name) => !tables.includes(name));
  if (missing.length > 0) {
    throw new UnusableFileError(
      `${path} is not a database of Meerkat's runtime store: expected the tables ${missing.slice(0, 3).join(", ")}, ` +
        `found ${tables.slice(0, 3).join(", ")}; name a database of Meerkat, or a new file`,
    );
  }
  await refuseProgrammed(connection, path);
  for (const [table, columns] of Object.entries(REFERENCE_COLUMNS)) {
    const found = await columnsOf(connection, table);
    if (found !== describe(columns)) {
      throw new UnusableFileError(
        `${path} belongs to another version of Meerkat: expected the columns ${describe(columns)} in ${table}, ` +
          `found ${found}`,
      );
    }
  }
  if (!tables.includes("bolthole_store")) return false;
  const store = await (await connection.prepare("SELECT format FROM bolthole_store")).get();
  const format = store && Number(store[0]);
  if (format !== undefined && format !== FORMAT_VERSION) {
    throw new UnusableFileError(
      `${path} has Bolthole tables of format ${format}, but this version of Bolthole reads only format ${FORMAT_VERSION}; ` +
        `use the version of Bolthole that wrote them`,
    );
  }
  return false;
}

/** What the SQL of a table may not have: each of them evaluates expressions of the file when a row is read or written. */
const EXPRESSIONS = /\b(CHECK|REFERENCES|GENERATED)\b|\bAS\s*\(/i;
/** An index over columns alone. */
const PLAIN_INDEX = /^CREATE (UNIQUE )?INDEX [^(]*\([^()]*\)\s*$/i;

/**
 * Refuses a database in which other SQL than ours would run when its tables are read or written: triggers on them, views and virtual tables
 * in their place, constraints, generated columns, and indexes over expressions. Meerkat makes none of them.
 */
async function refuseProgrammed(connection: SqliteConnection, path: string): Promise<void> {
  const statement = await connection.prepare(
    `SELECT type, name, tbl_name, sql FROM ${connection.schema}.sqlite_master`,
  );
  for (const [type, name, table, sql] of await statement.all()) {
    if (!isUsed(String(table)) && !isUsed(String(name))) continue;
    const what = programIn(String(type), sql === null ? undefined : String(sql));
    if (what === undefined) continue;
    throw new UnusableFileError(
      `${path} has ${what}: ${String(name)} at the table ${String(table)}. No version of Meerkat makes it, and it would run SQL of ` +
        "another program; remove it, or name another database",
    );
  }
}

/** Returns what an object of a schema would run, or undefined for a plain table or index. */
function programIn(type: string, sql: string | undefined): string | undefined {
  if (type === "table") {
    // SQLite itself writes this beginning, with one space.
    if (!sql?.startsWith("CREATE TABLE ")) return "a virtual table";
    return EXPRESSIONS.test(sql) ? "a table with a constraint or a generated column" : undefined;
  }
  if (type === "index") return sql === undefined || PLAIN_INDEX.test(sql) ? undefined : "an index over an expression";
  return `a ${type}`;
}

/** Whether statements of ours name this table. Names in SQL have no case. */
function isUsed(table: string): boolean {
  const name = table.toLowerCase();
  return Object.hasOwn(REFERENCE_COLUMNS, name) || name.startsWith("bolthole_");
}

async function tableNames(connection: SqliteConnection): Promise<string[]> {
  const statement = await connection.prepare(
    `SELECT name FROM ${connection.schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name`,
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

/** Returns the identity of the store, and creates it together with our tables. */
async function loadIdentity(connection: SqliteConnection): Promise<Identity> {
  const stored = await (await connection.prepare("SELECT store_id, epoch FROM bolthole_store")).get();
  if (stored) return { storeId: String(stored[0]), epoch: String(stored[1]) };
  const identity: Identity = { storeId: randomUUID(), epoch: randomUUID().slice(0, 8) };
  const insert = await connection.prepare("INSERT INTO bolthole_store VALUES (?, ?, ?, 0)");
  await insert.run(FORMAT_VERSION, identity.storeId, identity.epoch);
  return identity;
}
