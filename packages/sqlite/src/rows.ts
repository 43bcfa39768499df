import type { InputId, RuntimeId } from "@bolthole/contract";
import {
  type CountedTable,
  type DocumentRowKey,
  type RowEntry,
  type KeyOf,
  type Row,
  type RowKey,
  type RowSetKey,
  type StagedDocument,
  YieldBudget,
  deriveRuntimeManifest,
  isDocumentRowKey,
  keyText,
  ownOrExternalRow,
  deriveStoreManifest,
} from "@bolthole/core";
import type { SqliteConnection, Statement, Value } from "./connection.js";
import {
  type Note,
  REFERENCE_TABLES,
  RUNTIME_TABLES,
  type ReferenceKey,
  type ReferenceTable,
  type TableColumns,
  blobOf,
  bytesOf,
  clamped,
  isReferenceKey,
  keyColumns,
  noteValue,
  rowFrom,
  rowOf,
} from "./reference-tables.js";

type StatementName = keyof typeof STATEMENTS;

const NOTE_COLUMNS = "r.sequence, r.checksum, r.value";
const JOIN_NOTES = "LEFT JOIN bolthole_rows r ON r.runtime_id = ?1 AND r.name =";

const nextRuntime = (comparison: string): string =>
  // The id is read as a blob, because the driver cuts texts at a zero byte.
  `SELECT CAST(min(id) AS BLOB) FROM (${RUNTIME_TABLES.map(
    ({ table }) => `SELECT min(runtime_id) AS id FROM ${table} WHERE runtime_id ${comparison} CAST(?1 AS TEXT)`,
  ).join(" UNION ALL ")})`;

const deleteSome = (table: string, id: string, rows: string): string =>
  `DELETE FROM ${table} WHERE ${rows} AND ${id} IN (SELECT ${id} FROM ${table} WHERE ${rows} LIMIT 256)`;

const STATEMENTS = {
  begin: "BEGIN",
  end: "COMMIT",
  dataVersion: "PRAGMA data_version",
  sequence: "SELECT sequence FROM bolthole_store",
  setSequence: "UPDATE bolthole_store SET sequence = ?1",
  note: `SELECT ${NOTE_COLUMNS} FROM bolthole_rows r WHERE runtime_id = ?1 AND name = ?2 AND id = ?3`,
  putNote: "INSERT OR REPLACE INTO bolthole_rows VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
  deleteNote: "DELETE FROM bolthole_rows WHERE runtime_id = ?1 AND name = ?2 AND id = ?3",
  outcomes: `SELECT id, ${NOTE_COLUMNS} FROM bolthole_rows r
    WHERE runtime_id = '' AND name = 'outcome' AND id > ?1 ORDER BY id LIMIT ?2`,
  inputs: `SELECT t.input_id, t.state_json, ${NOTE_COLUMNS} FROM runtime_input_states t
    ${JOIN_NOTES} 'input' AND r.id = t.input_id
    WHERE t.runtime_id = ?1 AND t.input_id > ?2 ORDER BY t.input_id LIMIT ?3`,
  // SQLite knows the length of a blob without reading it.
  inputSizes: `SELECT length(state_json) FROM runtime_input_states
    WHERE runtime_id = ?1 AND input_id > ?2 ORDER BY input_id LIMIT ?3`,
  // The sequence is read as text, because a JavaScript number cannot hold every 64-bit integer.
  receipts: `SELECT t.run_id, CAST(t.sequence AS TEXT), t.receipt_json, ${NOTE_COLUMNS} FROM runtime_boundary_receipts t
    ${JOIN_NOTES} 'receipt' AND r.id = t.run_id || ' ' || t.sequence
    WHERE t.runtime_id = ?1 AND (t.run_id, t.sequence) > (?2, ?3) ORDER BY t.run_id, t.sequence LIMIT ?4`,
  // The event loop waits for each of these statements, so one deletes only some rows.
  deleteInputs: deleteSome("runtime_input_states", "rowid", "runtime_id = ?1"),
  deleteReceipts: deleteSome("runtime_boundary_receipts", "rowid", "runtime_id = ?1"),
  deleteInputNotes: deleteSome("bolthole_rows", "id", "runtime_id = ?1 AND name = 'input'"),
  deleteReceiptNotes: deleteSome("bolthole_rows", "id", "runtime_id = ?1 AND name = 'receipt'"),
  firstRuntime: nextRuntime(">="),
  nextRuntime: nextRuntime(">"),
} as const;

/** The number of rows that one query returns when a manifest is worked out. */
const PAGE = 512;
/** The bytes of values at which such a query ends. */
const PAGE_BYTES = 1 << 20;
/** The most rows in the cache. */
const MAX_CACHED = 10_000;
/** The most bytes of the value of a cached row. */
const MAX_CACHED_BYTES = 1024;

/**
 * Reads and writes the rows of core in the tables of the reference and in our own. The tables of the reference are authoritative: a
 * row whose note does not match or is missing is an external row, written by another program. Runtime manifests are worked
 * out from the stored rows. All calls are inside a transaction, in which `refresh` comes first.
 */
export class Rows {
  /** A cache of rows that are expensive to work out. It is valid until another program writes. */
  private readonly cached = new Map<string, Row | undefined>();
  private dataVersion: Value | undefined;

  private constructor(
    private readonly statements: Readonly<Record<StatementName, Statement>>,
    private readonly tables: Readonly<Record<ReferenceTable, TableStatements>>,
  ) {}

  static async prepare(connection: SqliteConnection): Promise<Rows> {
    const statements: Partial<Record<StatementName, Statement>> = {};
    for (const [name, sql] of Object.entries(STATEMENTS)) {
      statements[name as StatementName] = await connection.prepare(sql);
    }
    const tables: Partial<Record<ReferenceTable, TableStatements>> = {};
    for (const [table, columns] of Object.entries(REFERENCE_TABLES)) {
      tables[table as ReferenceTable] = await prepareTable(connection, columns);
    }
    return new Rows(statements as Record<StatementName, Statement>, tables as Record<ReferenceTable, TableStatements>);
  }

  /** Begins a transaction that only reads. */
  async begin(): Promise<void> {
    await this.statements.begin.run();
  }

  async end(): Promise<void> {
    await this.statements.end.run();
  }

  /** Clears the cache when another connection has committed since the last call. */
  async refresh(): Promise<void> {
    const [version] = (await this.statements.dataVersion.get()) ?? [];
    if (version !== this.dataVersion) this.forget();
    this.dataVersion = version;
  }

  /** Clears the cache. Call it also after a transaction that was rolled back. */
  forget(): void {
    this.cached.clear();
  }

  /** Returns the number of the last commit. */
  async sequence(): Promise<number> {
    return Number((await this.statements.sequence.get())?.[0] ?? 0);
  }

  async setSequence(sequence: number): Promise<void> {
    await this.statements.setSequence.run(sequence);
  }

  async get(key: RowKey): Promise<Row | undefined> {
    switch (key.table) {
      case "outcome": {
        const note = await this.note(key);
        return note && rowOf(note);
      }
      case "storeManifest": {
        const note = await this.note(key);
        return deriveStoreManifest(note && rowOf(note), await this.get({ table: "oauth" }));
      }
      case "runtimeManifest":
        return this.getCached(key, () => this.runtimeManifest(key));
      case "snapshot":
      case "ops":
        return this.getCached(key, () => this.stored(key));
      case "lifecycle":
      case "input":
      case "receipt":
      case "oauth":
        return this.stored(key);
    }
  }

  /** Writes a row, or deletes it when `row` is undefined. `document` is the document of the row. */
  async put(key: RowKey, row: Row | undefined, document: StagedDocument | undefined): Promise<void> {
    if (isReferenceKey(key)) {
      const { put, remove } = this.tables[key.table];
      if (row) await put.run(...keyColumns(key), blobOf(key, row, document));
      else await remove.run(...keyColumns(key));
    }
    if (row) await this.statements.putNote.run(...noteKey(key), row.sequence, row.checksum, noteValue(key, row));
    else await this.statements.deleteNote.run(...noteKey(key));
    if (key.table === "runtimeManifest" || isDocumentRowKey(key)) this.cache(key, row);
  }

  /** Replaces all input rows and receipts of a runtime, and lets the event loop run between slices. */
  async replaceRowSet(runtimeId: RuntimeId, entries: readonly RowEntry<RowSetKey>[]): Promise<void> {
    const budget = new YieldBudget();
    for (const name of ["deleteInputs", "deleteReceipts", "deleteInputNotes", "deleteReceiptNotes"] as const) {
      while ((await this.statements[name].run(runtimeId)) > 0) await budget.spend();
    }
    for (const { key, row } of entries) {
      await this.put(key, row, undefined);
      await budget.spend();
    }
    this.cached.delete(keyText({ table: "runtimeManifest", runtimeId }));
  }

  /** Returns the whole document of a row. */
  async document(key: DocumentRowKey): Promise<Buffer | undefined> {
    return (await this.find(key))?.blob;
  }

  /** Returns up to `limit` rows, and ends with the row that makes their values `bytes` long or longer. */
  async inputs(
    runtimeId: RuntimeId,
    after: InputId,
    limit: number,
    bytes = Infinity,
  ): Promise<RowEntry<KeyOf<"input">>[]> {
    const rows = bytes === Infinity ? limit : await this.rowsWithin(runtimeId, after, limit, bytes);
    const found = await this.statements.inputs.all(runtimeId, after, rows);
    return found.map(([inputId, blob, ...note]) => {
      const key = { table: "input", runtimeId, inputId: String(inputId) } as const;
      return { key, row: rowFrom(key, bytesOf(blob), noteOf(note)) };
    });
  }

  private async rowsWithin(runtimeId: RuntimeId, after: InputId, limit: number, bytes: number): Promise<number> {
    let left = bytes;
    let rows = 0;
    for (const [size] of await this.statements.inputSizes.all(runtimeId, after, limit)) {
      if (left <= 0) break;
      left -= Number(size);
      rows += 1;
    }
    return rows;
  }

  /** Returns receipts with the sequences of the table, which are at most 2^63 - 1. */
  async receipts(
    runtimeId: RuntimeId,
    after: Pick<KeyOf<"receipt">, "runId" | "sequence"> | undefined,
    limit: number,
  ): Promise<RowEntry<KeyOf<"receipt">>[]> {
    const { runId: afterRun, sequence: afterSequence } = after ?? { runId: "", sequence: 0n };
    const found = await this.statements.receipts.all(runtimeId, afterRun, clamped(afterSequence), limit);
    return found.map(([runId, sequence, blob, ...note]) => {
      const key = {
        table: "receipt",
        runtimeId,
        runId: String(runId),
        sequence: BigInt(String(sequence)),
      } as const;
      return { key, row: rowFrom(key, bytesOf(blob), noteOf(note)) };
    });
  }

  async outcomes(after: string, limit: number): Promise<RowEntry<KeyOf<"outcome">>[]> {
    const found = await this.statements.outcomes.all(after, limit);
    return found.flatMap(([id, ...columns]) => {
      const note = noteOf(columns);
      return note ? [{ key: { table: "outcome", requestId: String(id) }, row: rowOf(note) }] : [];
    });
  }

  async runtimeManifests(after: RuntimeId | undefined, limit: number): Promise<RowEntry<KeyOf<"runtimeManifest">>[]> {
    const entries: RowEntry<KeyOf<"runtimeManifest">>[] = [];
    let next =
      after === undefined
        ? await this.statements.firstRuntime.get(Buffer.of())
        : await this.statements.nextRuntime.get(Buffer.from(after, "utf8"));
    while (entries.length < limit) {
      const id = next?.[0];
      if (!Buffer.isBuffer(id)) break;
      const key = { table: "runtimeManifest", runtimeId: id.toString("utf8") } as const;
      const row = await this.get(key);
      if (row) entries.push({ key, row });
      next = await this.statements.nextRuntime.get(id);
    }
    return entries;
  }

  /** Works out a manifest from all stored rows of the runtime. */
  private async runtimeManifest(key: KeyOf<"runtimeManifest">): Promise<Row | undefined> {
    const { runtimeId } = key;
    const rows: { table: CountedTable; row: Row }[] = [];
    const budget = new YieldBudget();
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      const row = await this.get({ table, runtimeId });
      if (row) rows.push({ table, row });
    }
    let page: RowEntry<KeyOf<"input">>[] = [];
    do {
      page = await this.inputs(runtimeId, page.at(-1)?.key.inputId ?? "", PAGE, PAGE_BYTES);
      for (const { row } of page) rows.push({ table: "input", row: withoutValue(row) });
      await budget.spend();
    } while (page.length > 0);
    let receipts: RowEntry<KeyOf<"receipt">>[] = [];
    do {
      receipts = await this.receipts(runtimeId, receipts.at(-1)?.key, PAGE);
      for (const { row } of receipts) rows.push({ table: "receipt", row: withoutValue(row) });
      await budget.spend();
    } while (receipts.length === PAGE);
    const note = await this.note(key);
    const value = deriveRuntimeManifest(rows, note?.value);
    return value && ownOrExternalRow(key, value, note);
  }

  private async stored(key: ReferenceKey): Promise<Row | undefined> {
    const found = await this.find(key);
    return found && rowFrom(key, found.blob, found.note);
  }

  private async find(key: ReferenceKey): Promise<{ blob: Buffer; note: Note | undefined } | undefined> {
    const found = await this.tables[key.table].get.get(...keyColumns(key));
    return found && { blob: bytesOf(found[0]), note: await this.note(key) };
  }

  private async note(key: RowKey): Promise<Note | undefined> {
    return noteOf((await this.statements.note.get(...noteKey(key))) ?? []);
  }

  /** Returns a row from the cache, or finds it and adds it to the cache. */
  private async getCached(key: RowKey, find: () => Promise<Row | undefined>): Promise<Row | undefined> {
    const text = keyText(key);
    if (this.cached.has(text)) return this.cached.get(text);
    const row = await find();
    this.cache(key, row);
    return row;
  }

  private cache(key: RowKey, row: Row | undefined): void {
    if (this.cached.size >= MAX_CACHED) this.cached.clear();
    // The JSON of a small operation snapshot is quick to read again.
    if (row && row.value.length > MAX_CACHED_BYTES) this.cached.delete(keyText(key));
    else this.cached.set(keyText(key), row);
  }
}

/** A manifest needs only the sequences and checksums: all values together may be larger than the memory. */
const withoutValue = ({ sequence, checksum }: Row): Row => ({ sequence, checksum, value: NO_VALUE });
const NO_VALUE = Buffer.of();

interface TableStatements {
  readonly get: Statement;
  readonly put: Statement;
  readonly remove: Statement;
}

async function prepareTable(
  connection: SqliteConnection,
  { table, keys, value }: TableColumns,
): Promise<TableStatements> {
  const where = keys.map((key, index) => `${key} = ?${index + 1}`).join(" AND ");
  const columns = [...keys, value];
  return {
    get: await connection.prepare(`SELECT ${value} FROM ${table} WHERE ${where}`),
    put: await connection.prepare(
      `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map((_, index) => `?${index + 1}`).join(", ")})
       ON CONFLICT (${keys.join(", ")}) DO UPDATE SET ${value} = excluded.${value}`,
    ),
    remove: await connection.prepare(`DELETE FROM ${table} WHERE ${where}`),
  };
}

/** Returns the key of a row's note: runtime id, table and the rest of the key. */
function noteKey(key: RowKey): [runtimeId: string, name: string, id: string] {
  switch (key.table) {
    case "outcome":
      return ["", "outcome", key.requestId];
    case "oauth":
      return ["", key.table, ""];
    // These two tables are stored under older names. A stored name never changes.
    case "storeManifest":
      return ["", "tally", ""];
    case "runtimeManifest":
      return [key.runtimeId, "head", ""];
    case "input":
      return [key.runtimeId, "input", key.inputId];
    case "receipt":
      return [key.runtimeId, "receipt", `${key.runId} ${clamped(key.sequence)}`];
    case "snapshot":
    case "lifecycle":
    case "ops":
      return [key.runtimeId, key.table, ""];
  }
}

function noteOf([sequence, checksum, value]: readonly Value[]): Note | undefined {
  if (typeof sequence !== "number" || typeof checksum !== "number") return undefined;
  return { sequence, checksum, value: Buffer.isBuffer(value) ? value : undefined };
}
