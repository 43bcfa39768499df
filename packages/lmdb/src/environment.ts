import { type RootDatabase, type Transaction, open } from "lmdb";

/** A read transaction: one consistent state until `done`. */
export interface ReadTransaction {
  get(key: Buffer): Buffer | undefined;
  /** Pairs from `start` on, in order of the key's bytes. The buffers are the caller's. */
  range(start: Buffer, end: Buffer): Iterable<{ readonly key: Buffer; readonly value: Buffer }>;
  /** As `range`, without reading the values. */
  keys(start: Buffer, end: Buffer): Iterable<Buffer>;
  /** The last key of such a range. */
  lastKey(start: Buffer, end: Buffer): Buffer | undefined;
  done(): void;
}

/** The native library can begin no read any more. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentFailure";

  constructor(override readonly cause: unknown) {
    super("the environment cannot be read any more");
  }

  /** Only for now: every place for a reader is taken by another state that is still read. */
  get isCrowded(): boolean {
    return this.cause instanceof Error && "code" in this.cause && this.cause.code === READERS_FULL;
  }
}

const READERS_FULL = -30790;
const PAGE_NOT_FOUND = -30797;
const CORRUPTED = -30796;

/** What the native library throws when it reads pages that are not what it wrote. */
export const isCorruptionError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === PAGE_NOT_FOUND || error.code === CORRUPTED);

/** lmdb-js tells it by its text only: the number is that of an invalid argument. */
const isPanic = (error: unknown): boolean => error instanceof Error && error.message.includes("MDB_PANIC");

const orFailure = (error: unknown): unknown => (isPanic(error) ? new EnvironmentError(error) : error);

/** The data file in pages. */
export interface PageCounts {
  readonly pageBytes: number;
  /** Pages that were ever used. */
  readonly end: number;
  /** Those that hold data. */
  readonly used: number;
  /** Those that hold nothing; most can be used again. */
  readonly free: number;
  /** Levels of the tree. */
  readonly depth: number;
}

interface TreeStats {
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface Stats {
  readonly lastPageNumber: number;
  readonly pageSize: number;
  readonly root: TreeStats;
  /** The tree that lists the free pages. */
  readonly free: TreeStats;
}

const META_PAGES = 2;

const pagesOf = ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number =>
  treeBranchPageCount + treeLeafPageCount + overflowPages;

/**
 * Of different states at one time. A request reads in one for a few turns of the event loop, documents are read under leases:
 * far fewer are ever needed. LMDB's file of readers has its place on the disk, 64 bytes for each.
 */
export const MAX_READERS = 1024;

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

  /** With `readOnly` nothing is written, and nothing is made that is not there. */
  constructor(folder: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
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
      readOnly,
      maxReaders: MAX_READERS,
    });
  }

  /** From the newest durable state. Throws an EnvironmentFailure after a failed write. */
  get(key: Buffer): Buffer | undefined {
    try {
      return this.db.getBinary(key);
    } catch (cause) {
      throw orFailure(cause);
    }
  }

  /** As `get`, but in memory that the next reading fills again: whoever wants to keep it copies it at once. */
  peek(key: Buffer): Buffer | undefined {
    try {
      const shared = this.db.getBinaryFast(key);
      // What lmdb-js gives only says that it is as long as the value.
      return shared?.subarray(0, shared.length);
    } catch (cause) {
      throw orFailure(cause);
    }
  }

  /** Throws an EnvironmentFailure after a failed write. */
  read(): ReadTransaction {
    const transaction = this.begin();
    return {
      get: (key) => this.db.get(key, { transaction }),
      range: (start, end) => this.db.getRange({ start, end, transaction, snapshot: true }),
      keys: (start, end) => this.db.getKeys({ start, end, transaction, snapshot: true }),
      lastKey: (start, end) => {
        const [last] = this.db.getKeys({
          start: end,
          end: start,
          reverse: true,
          limit: 1,
          transaction,
          snapshot: true,
        });
        return last;
      },
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

  /** As of the last commit. */
  pages(): PageCounts {
    const { lastPageNumber, pageSize, root, free } = this.db.getStats() as Stats;
    const end = lastPageNumber + 1;
    const used = pagesOf(root);
    return { pageBytes: pageSize, end, used, free: end - META_PAGES - used - pagesOf(free), depth: root.treeDepth };
  }

  /** Writes one consistent state into an empty folder, without following its pages; holds a reader until it is done. */
  copyTo(folder: string): Promise<void> {
    return this.db.backup(folder, false);
  }

  /** Forgets readers whose process is gone: what they saw need not be kept. */
  forgetDeadReaders(): void {
    this.db.readerCheck();
  }

  close(): Promise<void> {
    return this.db.close();
  }

  private begin(): Transaction {
    try {
      return this.db.useReadTransaction();
    } catch (cause) {
      throw new EnvironmentError(cause);
    }
  }
}
