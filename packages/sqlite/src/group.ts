import { StoreError, writeFailed } from "@bolthole/contract";
import type { Apply, DecidedBatch, Group, GroupRow, RowEntry, RowSetKey, StagedRows, WriteBatch } from "@bolthole/core";
import { type SqliteConnection, isBusy } from "./connection.js";
import type { Mutex } from "./mutex.js";
import type { Rows } from "./rows.js";

/** A staged row set. It stays in memory: a transaction of SQLite has no limit, and the request holds the values anyway. */
export interface StagedEntries extends StagedRows {
  readonly entries: readonly RowEntry<RowSetKey>[];
}

/** The batches of one transaction, each written when it has been decided. The connection is locked until the end. */
export class SqliteGroup implements Group {
  /** An error of a statement may have ended the transaction: then nothing more may be written, and nothing committed. */
  private failure: { readonly cause: unknown } | undefined;
  private firstSequence = 0;
  private sequence = 0;
  /** Each batch is written when it is applied. */
  readonly hasWritten = true;

  private constructor(
    private readonly connection: SqliteConnection,
    private readonly rows: Rows,
    private readonly unlock: () => void,
  ) {}

  /** Waits for the connection and opens a transaction. Throws BUSY when another process writes for too long. */
  static async begin(connection: SqliteConnection, rows: Rows, mutex: Mutex): Promise<SqliteGroup> {
    const unlock = await mutex.lock();
    try {
      await connection.exec("BEGIN IMMEDIATE");
    } catch (cause) {
      unlock();
      if (!isBusy(cause)) throw cause;
      throw writeFailed("BUSY", "another process has been writing to the database for too long; try again", { cause });
    }
    const group = new SqliteGroup(connection, rows, unlock);
    try {
      await rows.refresh();
      group.sequence = group.firstSequence = await rows.sequence();
    } catch (cause) {
      group.failure = { cause };
    }
    return group;
  }

  get nextSequence(): number {
    return this.sequence + 1;
  }

  async read({ reads }: WriteBatch<unknown>): Promise<GroupRow[]> {
    this.refuseAfterFailure();
    try {
      const rows: GroupRow[] = [];
      for (const { key } of reads.handles) rows.push({ row: await this.rows.get(key) });
      return rows;
    } catch (cause) {
      // Damage is a property of a row. Any other error is one of a statement.
      if (!(cause instanceof StoreError)) this.failure = { cause };
      throw cause;
    }
  }

  /** Returns a sequence that no batch gets. Call it only while a task is applied. */
  takeSequence(): number {
    return (this.sequence += 1);
  }

  prepare({ decision, sequence }: DecidedBatch): Apply {
    return async () => {
      this.refuseAfterFailure();
      const { replaceRows } = decision;
      if (replaceRows) {
        const staged = replaceRows.rows as StagedEntries | undefined;
        await this.rows.replaceRowSet(replaceRows.runtimeId, staged?.entries ?? []);
      }
      for (const { handle, row, document } of decision.writes) await this.rows.put(handle.key, row, document);
      this.sequence = sequence;
    };
  }

  async flush(): Promise<undefined> {
    this.refuseAfterFailure();
    if (this.sequence > this.firstSequence) await this.rows.setSequence(this.sequence);
    await this.connection.exec("COMMIT");
    this.unlock();
  }

  async abort(): Promise<void> {
    this.rows.forget();
    // The failure may have ended the transaction already.
    await this.connection.exec("ROLLBACK").catch(() => undefined);
    this.unlock();
  }

  private refuseAfterFailure(): void {
    if (this.failure) throw this.failure.cause;
  }
}
