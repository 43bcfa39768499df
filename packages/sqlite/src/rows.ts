import type { InputId, RuntimeId } from "@bolthole/contract";
import {
  DerivedManifest,
  type DocumentRowKey,
  type RowEntry,
  type KeyOf,
  type Row,
  type RowKey,
  type RowSetKey,
  type StagedDocument,
  YieldBudget,
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
  `DELETE FROM ${table} WHERE ${rows} AND ${id} IN (SELECT ${id} FROM ${table} WHERE ${rows} LIMIT ?2)`;

const STATEMENTS = {
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
  receiptSizes: `SELECT length(receipt_json) FROM runtime_boundary_receipts
    WHERE runtime_id = ?1 AND (run_id, sequence) > (?2, ?3) ORDER BY run_id, sequence LIMIT ?4`,
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
/** The most rows that one statement deletes. */
const DELETED_ROWS = 256;
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

  /** Ends a transaction that only reads. */
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
        // The first commit writes a manifest. Before it, the rows of the reference are no sign that a manifest was lost.
        if (!note && (await this.sequence()) > 0) return undefined;
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

  /** Replaces all input rows and receipts of a runtime, and lets the event loop run between rows. */
  async replaceRowSet(
    runtimeId: RuntimeId,
    slices: AsyncIterable<readonly RowEntry<RowSetKey>[]> | Iterable<readonly RowEntry<RowSetKey>[]>,
  ): Promise<void> {
    const budget = new YieldBudget();
    const some = {
      // SQLite reads every page of a row that it deletes.
      deleteInputs: () => this.rowsWithin("inputSizes", [runtimeId, ""], DELETED_ROWS, PAGE_BYTES),
      deleteReceipts: () => this.rowsWithin("receiptSizes", [runtimeId, "", 0n], DELETED_ROWS, PAGE_BYTES),
      deleteInputNotes: () => Promise.resolve(DELETED_ROWS),
      deleteReceiptNotes: () => Promise.resolve(DELETED_ROWS),
    };
    for (const [name, rows] of Object.entries(some)) {
      const statement = this.statements[name as keyof typeof some];
      // A row of another program may have a key before those that are measured.
      while ((await statement.run(runtimeId, Math.max(1, await rows()))) > 0) await budget.spend();
    }
    for await (const entries of slices) {
      for (const { key, row } of entries) {
        await this.put(key, row, undefined);
        await budget.spend();
      }
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
    const rows = await this.rowsWithin("inputSizes", [runtimeId, after], limit, bytes);
    const found = await this.statements.inputs.all(runtimeId, after, rows);
    return found.map(([inputId, blob, ...note]) => {
      const key = { table: "input", runtimeId, inputId: String(inputId) } as const;
      return { key, row: rowFrom(key, bytesOf(blob), noteOf(note)) };
    });
  }

  /** Returns how many rows after a key are read, so that a read ends with the row that makes their values `bytes` long. */
  private async rowsWithin(
    sizes: "inputSizes" | "receiptSizes",
    after: readonly Value[],
    limit: number,
    bytes: number,
  ): Promise<number> {
    if (bytes === Infinity) return limit;
    let left = bytes;
    let rows = 0;
    for (const [size] of await this.statements[sizes].all(...after, limit)) {
      if (left <= 0) break;
      left -= Number(size);
      rows += 1;
    }
    return rows;
  }

  /** Returns receipts in the same way, with the sequences of the table, which are at most 2^63 - 1. */
  async receipts(
    runtimeId: RuntimeId,
    after: Pick<KeyOf<"receipt">, "runId" | "sequence"> | undefined,
    limit: number,
    bytes = Infinity,
  ): Promise<RowEntry<KeyOf<"receipt">>[]> {
    const key = [runtimeId, after?.runId ?? "", clamped(after?.sequence ?? 0n)];
    const rows = await this.rowsWithin("receiptSizes", key, limit, bytes);
    const found = await this.statements.receipts.all(...key, rows);
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
    // The rows are not kept: all of them together may be larger than the memory.
    const derived = new DerivedManifest();
    const budget = new YieldBudget();
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      const row = await this.get({ table, runtimeId });
      if (row) derived.add(table, row);
    }
    let page: RowEntry<KeyOf<"input">>[] = [];
    do {
      page = await this.inputs(runtimeId, page.at(-1)?.key.inputId ?? "", PAGE, PAGE_BYTES);
      for (const { row } of page) derived.add("input", row);
      await budget.spend();
    } while (page.length > 0);
    let receipts: RowEntry<KeyOf<"receipt">>[] = [];
    do {
      receipts = await this.receipts(runtimeId, receipts.at(-1)?.key, PAGE, PAGE_BYTES);
      for (const { row } of receipts) derived.add("receipt", row);
      await budget.spend();
    } while (receipts.length > 0);
    const note = await this.note(key);
    const value = derived.value(note?.value);
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
