import { StoreError } from "@bolthole/contract";
import type { Apply, DecidedBatch, Group, GroupRow, WriteBatch } from "@bolthole/core";
import { type SqliteConnection, isBusy } from "./connection.js";
import type { Rows } from "./rows.js";
import type { StagedSet, StagedSets } from "./staged-rows.js";
import { type Transactions, withLockRefusal } from "./transactions.js";

/** The batches of one transaction, each written when it has been decided. The connection is locked until the end. */
export class SqliteGroup implements Group {
  /** An error of a statement may have ended the transaction: then nothing more may be written, and nothing committed. */
  private failure: { readonly cause: unknown } | undefined;
  private firstSequence = 0;
  private sequence = 0;
  /** Each batch is written when it is applied. A transaction that a lock ended and that was rolled back has written nothing. */
  hasWritten = true;

  private constructor(
    private readonly connection: SqliteConnection,
    private readonly rows: Rows,
    private readonly staged: StagedSets,
    private readonly unlock: () => void,
  ) {}

  /** Waits for the connection and opens a transaction. Throws BUSY when another process writes for too long. */
  static async begin(
    connection: SqliteConnection,
    rows: Rows,
    staged: StagedSets,
    transactions: Transactions,
  ): Promise<SqliteGroup> {
    const group = new SqliteGroup(connection, rows, staged, await transactions.begin("write"));
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
    return this.guarded(async () => {
      const rows: GroupRow[] = [];
      for (const { key } of reads.handles) rows.push({ row: await this.rows.get(key) });
      return rows;
    });
  }

  /** Returns a sequence that no batch gets. Call it only while a task is applied. */
  takeSequence(): number {
    return (this.sequence += 1);
  }

  prepare({ decision, sequence }: DecidedBatch): Apply {
    return () =>
      this.guarded(async () => {
        const { replaceRows } = decision;
        if (replaceRows) {
          const staged = replaceRows.rows as StagedSet | undefined;
          await this.rows.replaceRowSet(replaceRows.runtimeId, staged ? this.staged.taken(staged) : []);
        }
        for (const { handle, row, document } of decision.writes) await this.rows.put(handle.key, row, document);
        this.sequence = sequence;
      });
  }

  async flush(): Promise<undefined> {
    await this.guarded(async () => {
      if (this.sequence > this.firstSequence) await this.rows.setSequence(this.sequence);
      await this.connection.exec("COMMIT");
    });
    this.unlock();
  }

  async abort(): Promise<void> {
    this.rows.forget();
    const isLocked = isBusy(this.failure?.cause);
    try {
      await this.connection.exec("ROLLBACK");
      // A COMMIT that did not get its lock has changed nothing, and leaves the transaction open.
      if (isLocked) this.hasWritten = false;
    } catch {
      // The failure has ended the transaction already. It is not known how.
    }
    this.unlock();
  }

  /** Runs statements of the transaction, and remembers an error of one. */
  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    if (this.failure) throw withLockRefusal("write", this.failure.cause);
    try {
      return await work();
    } catch (cause) {
      // Damage is a property of a row. Any other error is one of a statement.
      if (!(cause instanceof StoreError)) this.failure = { cause };
      throw withLockRefusal("write", cause);
    }
  }
}
