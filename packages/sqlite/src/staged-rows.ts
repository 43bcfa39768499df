import { writeFailed } from "@bolthole/contract";
import { type RowEntry, type RowSetKey, RowSetDigest, type StagedRows, YieldBudget } from "@bolthole/core";
import { type SqliteConnection, type Statement, isFull } from "./connection.js";
import { bytesOf } from "./reference-tables.js";
import type { Transactions } from "./transactions.js";

/** A staged row set. Its rows are in a temporary table. */
export interface StagedSet extends StagedRows {
  readonly id: number;
  readonly slices: number;
}

/**
 * A temporary table of the connection. It is a file outside the database, which is deleted with the process, so that a row set of any
 * size needs little memory, and a crash leaves nothing behind. The driver's SQLite would otherwise keep temporary tables in memory.
 */
const TABLE = "temp.bolthole_staged";
const CREATE = [
  "PRAGMA temp_store=FILE",
  `CREATE TABLE ${TABLE} (
    staging INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    at INTEGER NOT NULL,
    runtime_id TEXT NOT NULL,
    input_id TEXT,
    run_id TEXT,
    receipt_sequence TEXT,
    sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (staging, slice, at)
)`,
];

const STATEMENTS = {
  put: `INSERT INTO ${TABLE} VALUES (?1, ?2, ?3, CAST(?4 AS TEXT), ?5, ?6, ?7, ?8, ?9, ?10)`,
  // The runtime id is read as a blob, because the driver cuts texts at a zero byte.
  slice: `SELECT CAST(runtime_id AS BLOB), input_id, run_id, receipt_sequence, sequence, checksum, value FROM ${TABLE}
    WHERE staging = ?1 AND slice = ?2 ORDER BY at`,
  remove: `DELETE FROM ${TABLE} WHERE staging = ?1 AND slice = ?2`,
} as const;

/** The row sets that are staged on one connection. */
export class StagedSets {
  private last = 0;

  private constructor(
    private readonly connection: SqliteConnection,
    private readonly transactions: Transactions,
    private readonly statements: Readonly<Record<keyof typeof STATEMENTS, Statement>>,
  ) {}

  static async prepare(connection: SqliteConnection, transactions: Transactions): Promise<StagedSets> {
    for (const sql of CREATE) await connection.exec(sql);
    const put = await connection.prepare(STATEMENTS.put);
    const slice = await connection.prepare(STATEMENTS.slice);
    const remove = await connection.prepare(STATEMENTS.remove);
    return new StagedSets(connection, transactions, { put, slice, remove });
  }

  /** Stores the slices of a row set. When it rejects, nothing of the row set remains. */
  async add(sequence: number, slices: AsyncIterable<readonly RowEntry<RowSetKey>[]>): Promise<StagedSet> {
    const id = (this.last += 1);
    const digest = new RowSetDigest();
    let count = 0;
    try {
      for await (const entries of slices) {
        digest.add(entries);
        count += 1;
        await this.addSlice(id, count, entries);
      }
    } catch (error) {
      await this.remove({ id, slices: count }).catch(() => undefined);
      throw isFull(error) ? noRoom(error) : error;
    }
    return { id, slices: count, sequence, input: digest.input, receipt: digest.receipt };
  }

  /** Yields the slices of a row set, and removes each afterwards. Call it inside the transaction that uses the rows. */
  async *taken({ id, slices }: StagedSet): AsyncGenerator<readonly RowEntry<RowSetKey>[], void> {
    for (let slice = 1; slice <= slices; slice += 1) {
      yield (await this.statements.slice.all(id, slice)).map(entryOf);
      await this.statements.remove.run(id, slice);
    }
  }

  /** Removes a row set that no commit has used. */
  async remove({ id, slices }: Pick<StagedSet, "id" | "slices">): Promise<void> {
    const budget = new YieldBudget();
    for (let slice = 1; slice <= slices; slice += 1) {
      await this.transactions.alone(() => this.statements.remove.run(id, slice));
      await budget.spend();
    }
  }

  /** The connection is free between two slices. */
  private addSlice(id: number, slice: number, entries: readonly RowEntry<RowSetKey>[]): Promise<void> {
    return this.transactions.alone(async () => {
      const budget = new YieldBudget();
      // Only the temporary table is written, so that this transaction needs no lock of the database.
      await this.connection.exec("BEGIN");
      try {
        for (const [at, { key, row }] of entries.entries()) {
          const ids = key.table === "input" ? [key.inputId, null, null] : [null, key.runId, key.sequence.toString()];
          const value = Buffer.from(row.value.buffer, row.value.byteOffset, row.value.length);
          const runtimeId = Buffer.from(key.runtimeId, "utf8");
          await this.statements.put.run(id, slice, at, runtimeId, ...ids, row.sequence, row.checksum, value);
          await budget.spend();
        }
        await this.connection.exec("COMMIT");
      } catch (error) {
        await this.connection.exec("ROLLBACK").catch(() => undefined);
        throw error;
      }
    });
  }
}

function entryOf(columns: Awaited<ReturnType<Statement["all"]>>[number]): RowEntry<RowSetKey> {
  const [id, inputId, runId, receiptSequence, sequence, checksum, value] = columns;
  const runtimeId = bytesOf(id).toString("utf8");
  const row = { sequence: Number(sequence), checksum: Number(checksum), value: bytesOf(value) };
  const key: RowSetKey =
    typeof inputId === "string"
      ? { table: "input", runtimeId, inputId }
      : { table: "receipt", runtimeId, runId: String(runId), sequence: BigInt(String(receiptSequence)) };
  return { key, row };
}

const noRoom = (cause: unknown): Error =>
  writeFailed(
    "DISK_FULL",
    "there is no room on the disk of the temporary folder for the rows that are being stored; nothing was changed; " +
      "make room there, or choose another folder by the daemon's variable SQLITE_TMPDIR",
    { cause },
  );
