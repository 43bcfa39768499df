import type { ImportResult, RuntimeId } from "@bolthole/contract";
import type { SqliteConnection, Value } from "./connection.js";
import { MeerkatCursor, readSingles } from "./meerkat-cursor.js";
import { type MeerkatRow, type MeerkatSingles, canonicalSingles, isSameRow } from "./meerkat-rows.js";
import { REFERENCE_TABLES, type ReferenceTable } from "./reference-tables.js";

const SINGLES = ["snapshot", "lifecycle", "ops"] as const;
const NOTHING: MeerkatSingles = { snapshot: undefined, lifecycle: undefined, ops: undefined };

export interface TargetOptions {
  /** Whether the database has rows of the runtime. */
  readonly exists: boolean;
  readonly overwrite: boolean;
  readonly dryRun: boolean;
}

/**
 * Writes a whole runtime row by row, inside one transaction. As long as the rows equal those that are there, nothing is written.
 * From the first difference on, the rest is replaced.
 */
export class MeerkatTarget {
  private readonly present: MeerkatCursor;
  private state: "equal" | "kept" | "replaced";

  constructor(
    private readonly connection: SqliteConnection,
    private readonly runtimeId: RuntimeId,
    private readonly options: TargetOptions,
  ) {
    this.present = new MeerkatCursor(connection, runtimeId);
    this.state = options.exists ? "equal" : "replaced";
  }

  /** Takes the next row in the order of the keys, the input rows first. */
  async take(row: MeerkatRow): Promise<void> {
    if (this.state === "equal") {
      const present = await this.present.peek();
      if (present && isSameRow(present, row)) {
        this.present.skip();
        return;
      }
      await this.differ();
    }
    if (!this.isWritten) return;
    if (row.table === "input") await this.insert("input", row.inputId, row.json);
    else await this.insert("receipt", row.runId, row.sequence, row.json);
  }

  /** Takes the other rows, after the last row. Returns the result. */
  async end(singles: MeerkatSingles): Promise<ImportResult> {
    if (this.state === "equal" && (await this.present.peek())) await this.differ();
    const present = this.options.exists ? await readSingles(this.connection, this.runtimeId) : NOTHING;
    const canonical = canonicalSingles(present);
    for (const table of SINGLES) {
      const value = singles[table];
      const isSame = value ? canonical[table]?.equals(value) : !present[table];
      if (isSame) continue;
      if (this.state === "equal") await this.differ();
      if (!this.isWritten) continue;
      if (value) await this.insert(table, value);
      else await this.remove(table);
    }
    if (!this.options.exists) return "added";
    return this.state === "equal" ? "unchanged" : this.state;
  }

  private get isWritten(): boolean {
    return this.state === "replaced" && !this.options.dryRun;
  }

  /** Begins to replace the rows that are there, or to keep them. */
  private async differ(): Promise<void> {
    this.state = this.options.overwrite ? "replaced" : "kept";
    if (this.isWritten) await this.present.deleteRest();
  }

  private async insert(table: ReferenceTable, ...values: Value[]): Promise<void> {
    const parameters = [this.runtimeId, ...values].map((_, index) => `?${index + 1}`).join(", ");
    const sql = `INSERT OR REPLACE INTO ${REFERENCE_TABLES[table].table} VALUES (${parameters})`;
    await (await this.connection.prepare(sql)).run(this.runtimeId, ...values);
  }

  private async remove(table: ReferenceTable): Promise<void> {
    const sql = `DELETE FROM ${REFERENCE_TABLES[table].table} WHERE runtime_id = ?1`;
    await (await this.connection.prepare(sql)).run(this.runtimeId);
  }
}
