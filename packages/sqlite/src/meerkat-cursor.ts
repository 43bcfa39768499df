import type { RuntimeId } from "@bolthole/contract";
import type { SqliteConnection, Value } from "./connection.js";
import type { MeerkatRow, MeerkatSingles } from "./meerkat-rows.js";
import { REFERENCE_TABLES, RUNTIME_TABLES, bytesOf } from "./reference-tables.js";

/** The most rows of a page. */
const PAGE_ROWS = 512;
/** The bytes of values at which a page ends. */
const PAGE_BYTES = 1 << 20;

const ROW_TABLES = ["input", "receipt"] as const;
export type RowTable = (typeof ROW_TABLES)[number];

/** A row, with the number that SQLite gives to it. */
interface Numbered {
  readonly number: Value;
  readonly row: MeerkatRow;
}

/** The input rows and receipts of one runtime in the order of their keys, read page by page. Use it inside one transaction. */
export class MeerkatCursor {
  private page: readonly Numbered[] = [];
  private at = 0;
  /** The number of tables that were read to their end. */
  private completeTables = 0;
  /** The number of the last row that was read of the table, unless all of them were. */
  private lastRead: Value | undefined;
  /** The last row that was skipped. */
  private last: { readonly table: RowTable; readonly number: Value } | undefined;

  constructor(
    private readonly connection: SqliteConnection,
    private readonly runtimeId: RuntimeId,
  ) {}

  /** Returns the next row, or undefined after the last one. */
  async peek(): Promise<MeerkatRow | undefined> {
    while (this.at === this.page.length) {
      const table = ROW_TABLES[this.completeTables];
      if (!table) return undefined;
      await this.readPage(table);
    }
    return this.page[this.at]?.row;
  }

  /** Moves on to the row after the one that `peek` returned. */
  skip(): void {
    const passed = this.page[this.at];
    if (passed) this.last = { table: passed.row.table, number: passed.number };
    this.at += 1;
  }

  /** Deletes the next row and all rows after it. The cursor is at its end then. */
  async deleteRest(): Promise<void> {
    for (const table of ROW_TABLES) {
      if (this.last && ROW_TABLES.indexOf(table) < ROW_TABLES.indexOf(this.last.table)) continue;
      const [rest, values] = this.restOf(table, this.last?.table === table ? this.last.number : undefined);
      await (await this.connection.prepare(`DELETE FROM ${nameOf(table)} WHERE ${rest}`)).run(...values);
    }
    this.completeTables = ROW_TABLES.length;
    this.page = [];
    this.at = 0;
  }

  private async readPage(table: RowTable): Promise<void> {
    const { keys, value } = REFERENCE_TABLES[table];
    const [rest, values] = this.restOf(table, this.lastRead);
    const order = `FROM ${nameOf(table)} WHERE ${rest} ORDER BY ${keys.join(", ")} LIMIT`;
    // SQLite knows the length of a blob without reading it.
    const sizes = await this.all(`SELECT length(${value}) ${order} ${PAGE_ROWS}`, values);
    let rows = 0;
    for (let bytes = 0; rows < sizes.length && bytes < PAGE_BYTES; rows += 1) bytes += Number(sizes[rows]?.[0]);
    // A sequence is read as text, because a JavaScript number cannot hold every 64-bit integer.
    const columns = [...keys.slice(1), value].map((key) => (key === "sequence" ? "CAST(sequence AS TEXT)" : key));
    const found = await this.all(`SELECT rowid, ${columns.join(", ")} ${order} ${rows}`, values);
    this.page = found.map(([number = null, ...row]) => ({ number, row: rowOf(table, row) }));
    this.at = 0;
    this.lastRead = this.page.at(-1)?.number;
    if (rows < sizes.length || sizes.length === PAGE_ROWS) return;
    this.completeTables += 1;
    this.lastRead = undefined;
  }

  /** Returns the condition for the rows of a table after the one with this number, or for all of them, with its values. */
  private restOf(table: RowTable, after: Value | undefined): [condition: string, values: Value[]] {
    const [id, ...keys] = REFERENCE_TABLES[table].keys;
    const all = `${id ?? ""} = ?1`;
    if (after === undefined) return [all, [this.runtimeId]];
    // SQLite compares the keys itself: not all of them can be passed through the driver unchanged.
    const key = keys.join(", ");
    return [`${all} AND (${key}) > (SELECT ${key} FROM ${nameOf(table)} WHERE rowid = ?2)`, [this.runtimeId, after]];
  }

  private async all(sql: string, values: Value[]): Promise<Value[][]> {
    return (await this.connection.prepare(sql)).all(...values);
  }
}

const nameOf = (table: RowTable): string => REFERENCE_TABLES[table].table;

/** Returns the row with these columns after the runtime id. */
function rowOf(table: RowTable, columns: readonly Value[]): MeerkatRow {
  if (table === "input") {
    const [inputId, json] = columns;
    return { table, inputId: idOf(inputId), json: bytesOf(json) };
  }
  const [runId, sequence, json] = columns;
  return { table, runId: idOf(runId), sequence: BigInt(String(sequence)), json: bytesOf(json) };
}

/** A key that is no text is not the id of any record. Its order among texts is another one than that of its bytes. */
const idOf = (id: Value | undefined): string => (typeof id === "string" ? id : `${String(id)} (not text)`);

/** Returns the other rows of a runtime. */
export async function readSingles(connection: SqliteConnection, runtimeId: RuntimeId): Promise<MeerkatSingles> {
  const single = async (table: keyof MeerkatSingles): Promise<Buffer | undefined> => {
    const { table: name, value } = REFERENCE_TABLES[table];
    const found = await (await connection.prepare(`SELECT ${value} FROM ${name} WHERE runtime_id = ?1`)).get(runtimeId);
    return found && bytesOf(found[0]);
  };
  return { snapshot: await single("snapshot"), lifecycle: await single("lifecycle"), ops: await single("ops") };
}

/** Whether the tables have any row of a runtime. */
export async function hasRows(connection: SqliteConnection, runtimeId: RuntimeId): Promise<boolean> {
  const tables = RUNTIME_TABLES.map(({ table }) => `EXISTS (SELECT 1 FROM ${table} WHERE runtime_id = ?1)`);
  const found = await (await connection.prepare(`SELECT ${tables.join(" OR ")}`)).get(runtimeId);
  return Number(found?.[0]) === 1;
}
