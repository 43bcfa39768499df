import { type RootDatabase, type Transaction, open } from "lmdb";

/** A read transaction: one consistent state until `done`. */
export interface ReadTransaction {
  get(key: Buffer): Buffer | undefined;
  /** Pairs from `start` on, in order of the key's bytes. The buffers are the caller's. */
  range(start: Buffer, end: Buffer): Iterable<{ readonly key: Buffer; readonly value: Buffer }>;
  /** As `range`, without reading the values. */
  keys(start: Buffer, end: Buffer): Iterable<Buffer>;
  done(): void;
}

/** Puts a value, or removes it. */
export type Put = readonly [key: Buffer, value: Buffer | undefined];

/**
 * The one file that knows lmdb-js, and every choice that durability hangs on:
 * - `overlappingSync: false`: what a reader sees is flushed; with the default, it may still be lost.
 * - never `noSync` or `noMetaSync`: an answer means that both flushes are done.
 * - all puts of one `write` are issued in one turn of the event loop, which lmdb-js keeps in one transaction.
 * - no `cache`, no `useWritemap`: both weaken the rules above.
 */
export class Environment {
  private readonly db: RootDatabase<Buffer, Buffer>;

  constructor(folder: string) {
    this.db = open<Buffer, Buffer>({
      path: folder,
      // lmdb-js takes a name with a dot for a file otherwise.
      noSubdir: false,
      encoding: "binary",
      keyEncoding: "binary",
      overlappingSync: false,
      eventTurnBatching: true,
      compression: false,
      cache: false,
      maxReaders: 126,
    });
  }

  /** From the newest durable state. */
  get(key: Buffer): Buffer | undefined {
    return this.db.getBinary(key);
  }

  read(): ReadTransaction {
    const transaction: Transaction = this.db.useReadTransaction();
    return {
      get: (key) => this.db.get(key, { transaction }),
      range: (start, end) => this.db.getRange({ start, end, transaction, snapshot: true }),
      keys: (start, end) => this.db.getKeys({ start, end, transaction, snapshot: true }),
      done: () => {
        transaction.done();
      },
    };
  }

  /** Writes all or nothing; resolves when everything is flushed. One call at a time. */
  async write(puts: readonly Put[]): Promise<void> {
    // Mostly one and the same promise.
    const done = new Set<Promise<boolean>>();
    for (const [key, value] of puts) {
      done.add(value ? this.db.put(key, value) : this.db.remove(key));
    }
    try {
      await Promise.all(done);
    } catch (error) {
      // lmdb-js rejects a second promise with the cause; unheard, it would end the process in its own way.
      const { commitError } = error as { commitError?: Promise<unknown> };
      throw await (commitError?.then(
        () => error,
        (cause: unknown) => cause,
      ) ?? Promise.resolve(error));
    }
    // Readers of this thread see the commit from here on.
    this.db.resetReadTxn();
  }

  storedBytes(): number {
    const { lastPageNumber, pageSize } = this.db.getStats() as { lastPageNumber: number; pageSize: number };
    return (lastPageNumber + 1) * pageSize;
  }

  close(): Promise<void> {
    return this.db.close();
  }
}
