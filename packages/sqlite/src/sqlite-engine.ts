import { setImmediate } from "node:timers/promises";
import type { RuntimeId } from "@bolthole/contract";
import {
  type DocumentParts,
  type DocumentRowKey,
  type Engine,
  EngineLifecycle,
  type EngineStats,
  type EntryOf,
  GroupCommit,
  type RowEntry,
  type RowRange,
  RowSetDigest,
  type RowSetKey,
  type RowSlice,
  StaleBaseError,
  type View,
  type WriteBatch,
  assembleYielding,
  crc32Yielding,
  keyText,
} from "@bolthole/core";
import { SqliteConnection, type Statement } from "./connection.js";
import { SqliteGroup, type StagedEntries } from "./group.js";
import { Mutex } from "./mutex.js";
import type { StagedBlob } from "./reference-tables.js";
import { Rows } from "./rows.js";
import { FORMAT_VERSION, type Identity, claimSchema } from "./schema.js";

export interface SqliteOptions {
  /** Called once, when a write or a flush failed: the store is stopped then, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
}

interface Parts {
  readonly connection: SqliteConnection;
  readonly rows: Rows;
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
  private readonly mutex = new Mutex();
  private readonly lifecycle = new EngineLifecycle();
  private readonly groups: GroupCommit<SqliteGroup>;

  private constructor(
    { storeId, epoch }: Identity,
    private readonly parts: Parts,
    { onFailure }: SqliteOptions,
  ) {
    this.storeId = storeId;
    this.epoch = epoch;
    this.groups = new GroupCommit(() => SqliteGroup.begin(parts.connection, parts.rows, this.mutex), onFailure);
  }

  /** Opens a database file, or makes a new one. Its folder must exist. Throws `UnusableFileError`. */
  static async open(file: string, options: SqliteOptions = {}): Promise<SqliteEngine> {
    const connection = SqliteConnection.open(file);
    try {
      const identity = await claimSchema(connection, file);
      const size = await connection.prepare(
        "SELECT page_count * page_size, (page_count - freelist_count) * page_size " +
          "FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
      );
      return new SqliteEngine(identity, { connection, rows: await Rows.prepare(connection), size }, options);
    } catch (error) {
      connection.close();
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

  stageRows(_runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedEntries> {
    return this.lifecycle.run("WriteFailed", () => this.keepRows(slices));
  }

  /** All slices have the same sequence. It is taken in a transaction, so that no later process uses it again. */
  private async keepRows(slices: AsyncIterable<RowSlice>): Promise<StagedEntries> {
    let sequence = 0;
    await this.groups.perform({
      bytes: 0,
      prepare: (group) => () => {
        sequence = group.takeSequence();
      },
    });
    const entries: RowEntry<RowSetKey>[] = [];
    const digest = new RowSetDigest();
    for await (const slice of slices) {
      this.lifecycle.refuseAfterClosing("WriteFailed");
      const made = slice(sequence);
      digest.add(made);
      entries.push(...made);
      await setImmediate();
    }
    return { sequence, input: digest.input, receipt: digest.receipt, entries };
  }

  discardRows(): Promise<void> {
    return Promise.resolve();
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

  close(): Promise<void> {
    return this.lifecycle.close({
      drain: () => this.groups.close(),
      release: () => this.mutex.run(() => this.release()),
    });
  }

  private async release(): Promise<void> {
    const { connection } = this.parts;
    try {
      // Moves the log into the file, so that the file alone is the whole database.
      await connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      connection.close();
    }
  }

  private reading<T>(read: () => Promise<T>): Promise<T> {
    return this.mutex.run(async () => {
      this.groups.refuseReadsAfterFailure();
      await this.parts.rows.begin();
      try {
        await this.parts.rows.refresh();
        return await read();
      } finally {
        await this.parts.rows.end();
      }
    });
  }
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
      return rows.receipts(range.runtimeId, range.after, limit);
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
