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
    await group.reading(async () => {
      await rows.refresh();
      group.sequence = group.firstSequence = await rows.sequence();
    });
    return group;
  }

  get nextSequence(): number {
    return this.sequence + 1;
  }

  async read({ reads }: WriteBatch<unknown>): Promise<GroupRow[]> {
    const rows: GroupRow[] = [];
    await this.reading(async () => {
      for (const { key } of reads.handles) rows.push({ row: await this.rows.get(key) });
    });
    this.refuseAfterFailure();
    return rows;
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

  /** Runs reads of the transaction. Damage is a property of a row; any other error is one of a statement. */
  private async reading(work: () => Promise<void>): Promise<void> {
    try {
      if (!this.failure) await work();
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      this.failure = { cause };
    }
  }

  private refuseAfterFailure(): void {
    if (this.failure) throw this.failure.cause;
  }
}
