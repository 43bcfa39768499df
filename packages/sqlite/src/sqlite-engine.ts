import { existsSync, statSync } from "node:fs";
import type { RuntimeId } from "@bolthole/contract";
import {
  type DocumentParts,
  type DocumentRowKey,
  type Engine,
  EngineLifecycle,
  type EngineStats,
  type EntryOf,
  type FileGuard,
  GroupCommit,
  type RowEntry,
  type RowRange,
  type RowSetKey,
  type RowSlice,
  type StagedRows,
  StaleBaseError,
  type View,
  type WriteBatch,
  assembleYielding,
  crc32Yielding,
  keyText,
} from "@bolthole/core";
import { SqliteConnection, type Statement, isBusy } from "./connection.js";
import { SqliteGroup } from "./group.js";
import type { StagedBlob } from "./reference-tables.js";
import { withReason } from "./read-only-file.js";
import { Rows } from "./rows.js";
import { type StagedSet, StagedSets } from "./staged-rows.js";
import { LOCK_WAIT_MS, Transactions, withLockRefusal } from "./transactions.js";
import { FORMAT_VERSION, type Identity, claimSchema, refuseForeign } from "./schema.js";

export interface SqliteOptions {
  /** Called once, when a write or a flush failed: the store is stopped then, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
  /** Throws when the files of the store are not at their paths any more: the store is stopped then, and `onFailure` is called. */
  readonly guard?: FileGuard | undefined;
  /** The longest wait for the lock of another process, before a call is refused as BUSY. Five seconds unless set. */
  readonly lockWaitMs?: number | undefined;
}

interface Parts {
  readonly file: string;
  /** The device and inode of the file when it was opened. */
  readonly opened: string;
  readonly connection: SqliteConnection;
  readonly transactions: Transactions;
  readonly rows: Rows;
  readonly staged: StagedSets;
  readonly size: Statement;
}

/**
 * Keeps rows in a database of the reference, which the reference may use at the same time. There is one connection: a view
 * waits while a group is flushed, but the event loop does not. A view shows nothing that is not durable.
 */
export class SqliteEngine implements Engine {
  readonly name = "sqlite";
  readonly durable = true;
  /** There is one connection, so writers wait for every open view. */
  readonly viewHoldMs = 0;
  readonly storeId: string;
  readonly epoch: string;
  private readonly transactions: Transactions;
  private readonly lifecycle = new EngineLifecycle();
  private readonly groups: GroupCommit<SqliteGroup>;

  private constructor(
    { storeId, epoch }: Identity,
    private readonly parts: Parts,
    { onFailure, guard }: SqliteOptions,
  ) {
    this.storeId = storeId;
    this.epoch = epoch;
    const { connection, rows, staged, transactions } = parts;
    this.transactions = transactions;
    const begin = (): Promise<SqliteGroup> => SqliteGroup.begin(connection, rows, staged, transactions);
    this.groups = new GroupCommit(begin, onFailure, guard);
  }

  /** Opens a database file, or makes a new one. Its folder must exist. Throws `UnusableFileError`. */
  static async open(file: string, options: SqliteOptions = {}): Promise<SqliteEngine> {
    await refuseForeign(file);
    const connection = await SqliteConnection.open(file);
    try {
      const identity = await withReason(file, "written", () => claimSchema(connection, file));
      const size = await connection.prepare(
        "SELECT page_count * page_size, (page_count - freelist_count) * page_size " +
          "FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
      );
      const transactions = new Transactions(connection, options.lockWaitMs ?? LOCK_WAIT_MS);
      const rows = await Rows.prepare(connection);
      const staged = await StagedSets.prepare(connection, transactions);
      await connection.refuseLocksAtOnce();
      const opened = inodeOf(file);
      return new SqliteEngine(identity, { file, opened, connection, transactions, rows, staged, size }, options);
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  view<T>(read: (view: View) => Promise<T>): Promise<T> {
    return this.lifecycle.run("ReadFailed", () =>
      this.reading(() => read(this.lifecycle.guard(viewOf(this.parts.rows)))),
    );
  }

  stage(key: DocumentRowKey, base: number | undefined, document: DocumentParts): Promise<StagedBlob> {
    return this.lifecycle.run("WriteFailed", () => this.assemble(key, base, document));
  }

  private async assemble(key: DocumentRowKey, base: number | undefined, document: DocumentParts): Promise<StagedBlob> {
    let stored: Buffer | undefined;
    if (document.some((part) => !(part instanceof Uint8Array))) {
      stored = await this.reading(async () => {
        const row = await this.parts.rows.get(key);
        if (row?.sequence !== base) throw new StaleBaseError();
        return this.parts.rows.document(key);
      });
    }
    const content = await assembleYielding(document, stored);
    return { length: content.length, crc32: await crc32Yielding(content), bytes: content.length, content };
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  stageRows(_runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedSet> {
    return this.lifecycle.run("WriteFailed", () => this.keepRows(slices));
  }

  /** All slices have the same sequence. It is taken in a transaction, so that no later process uses it again. */
  private async keepRows(slices: AsyncIterable<RowSlice>): Promise<StagedSet> {
    let sequence = 0;
    await this.groups.perform({
      bytes: 0,
      prepare: (group) => () => {
        sequence = group.takeSequence();
      },
    });
    const { lifecycle } = this;
    async function* made(): AsyncGenerator<readonly RowEntry<RowSetKey>[], void> {
      for await (const slice of slices) {
        lifecycle.refuseAfterClosing("WriteFailed");
        yield slice(sequence);
      }
    }
    return this.parts.staged.add(sequence, made());
  }

  /** Rows that cannot be removed, and all rows of an engine that is closed, end with the connection. */
  discardRows(staged: StagedRows): Promise<void> {
    return this.lifecycle
      .run("WriteFailed", () => this.parts.staged.remove(staged as StagedSet))
      .catch(() => undefined);
  }

  commit<T>(batch: WriteBatch<T>): Promise<T> {
    return this.groups.commit(batch);
  }

  stats(): Promise<EngineStats> {
    return this.lifecycle.run("ReadFailed", () =>
      this.reading(async () => {
        const [stored = 0, used = 0] = (await this.parts.size.get()) ?? [];
        return {
          formatVersion: FORMAT_VERSION,
          storedBytes: Number(stored),
          usedBytes: Number(used),
          commitSequence: await this.parts.rows.sequence(),
        };
      }),
    );
  }

  /**
   * Changes since the last checkpoint are in the write-ahead log alone. When it was removed, the connection still has it open, and a
   * checkpoint copies them into the database. This is safe only while no other process has made a new log, and the database is still
   * the one that was opened.
   */
  async saveFromOpenFiles(): Promise<void> {
    const { file, opened, connection } = this.parts;
    await this.transactions.alone(async () => {
      if (existsSync(`${file}-wal`) || inodeOf(file) !== opened) return;
      await connection.exec("PRAGMA wal_checkpoint(FULL)");
    });
  }

  close(): Promise<void> {
    return this.lifecycle.close({
      drain: () => this.groups.close(),
      release: () => this.transactions.alone(() => this.release()),
    });
  }

  private async release(): Promise<void> {
    const { connection } = this.parts;
    try {
      // Moves the log into the file, so that the file alone is the whole database. Another process that uses it may prevent that.
      await connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch (error) {
      if (!isBusy(error)) throw error;
    } finally {
      await connection.close();
    }
  }

  private async reading<T>(read: () => Promise<T>): Promise<T> {
    const { rows } = this.parts;
    const unlock = await this.transactions.begin("read");
    try {
      this.groups.refuseReadsAfterFailure();
      await rows.refresh();
      return await read();
    } catch (error) {
      throw withLockRefusal("read", error);
    } finally {
      // A transaction that stayed open would refuse all later ones.
      await rows.end().catch(() => this.parts.connection.exec("ROLLBACK").catch(() => undefined));
      unlock();
    }
  }
}

function inodeOf(file: string): string {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found ? `${String(found.dev)} ${String(found.ino)}` : "";
}

const PIECE_BYTES = 1 << 20;

const viewOf = (rows: Rows): View => {
  // A reader of one range usually reads further ranges, and the database returns only whole documents.
  let last: { readonly name: string; readonly document: Buffer } | undefined;
  const whole = async (key: DocumentRowKey): Promise<Buffer> => {
    const name = keyText(key);
    if (last?.name !== name) last = { name, document: (await rows.document(key)) ?? Buffer.of() };
    return last.document;
  };
  return {
    get: (key) => rows.get(key),
    // The switch in `scan` returns the keys of the range's table, which the compiler cannot infer.
    scan: <R extends RowRange>(range: R, limit: number, bytes?: number) =>
      scan(rows, range, limit, bytes) as Promise<EntryOf<R>[]>,
    document: async (key, range) => {
      const document = await whole(key);
      return piecesOf(range ? document.subarray(range.offset, range.offset + range.length) : document);
    },
  };
};

function scan(rows: Rows, range: RowRange, limit: number, bytes?: number): Promise<RowEntry[]> {
  switch (range.table) {
    case "input":
      return rows.inputs(range.runtimeId, range.after?.inputId ?? "", limit, bytes);
    case "receipt":
      return rows.receipts(range.runtimeId, range.after, limit, bytes);
    case "outcome":
      return rows.outcomes(range.after?.requestId ?? "", limit);
    case "runtimeManifest":
      return rows.runtimeManifests(range.after?.runtimeId, limit);
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- the bytes are in memory; other engines have to wait for them
async function* piecesOf(document: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < document.length; at += PIECE_BYTES) yield document.subarray(at, at + PIECE_BYTES);
}
