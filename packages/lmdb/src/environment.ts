import { getSystemErrorMap } from "node:util";
import { type RootDatabase, type Transaction, open } from "lmdb";

/** A read transaction: one consistent state of the store until `done` is called. */
export interface ReadTransaction {
  get(key: Buffer): Buffer | undefined;
  /** Yields the pairs from `start` up to, but not including, `end`, in the byte order of their keys. The caller may keep them. */
  range(start: Buffer, end: Buffer): Iterable<{ readonly key: Buffer; readonly value: Buffer }>;
  /** Yields only the keys of a range, without reading the values. */
  keys(start: Buffer, end: Buffer): Iterable<Buffer>;
  /** Returns the last key of a range. */
  lastKey(start: Buffer, end: Buffer): Buffer | undefined;
  /** Ends the transaction. Until then, LMDB cannot reuse pages that later commits free, and the data file grows. */
  done(): void;
}

/** Thrown when LMDB can begin no read: after a failed write, or because every reader slot is in use. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentError";

  constructor(override readonly cause: unknown) {
    super("LMDB cannot begin a read transaction");
  }

  /** Whether only the reader slots are used up: the read can succeed when another read transaction has ended. */
  get isOutOfReaders(): boolean {
    return this.cause instanceof Error && "code" in this.cause && this.cause.code === READERS_FULL;
  }
}

/** MDB_READERS_FULL */
const READERS_FULL = -30790;
/** MDB_PAGE_NOTFOUND */
const PAGE_NOT_FOUND = -30797;
/** MDB_CORRUPTED */
const CORRUPTED = -30796;

/** Whether LMDB reports that it read pages that it did not write. */
export const isCorruptionError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === PAGE_NOT_FOUND || error.code === CORRUPTED);

/** Whether LMDB reports MDB_PANIC. lmdb-js reports it with the code of an invalid argument, so only the text identifies it. */
const isPanic = (error: unknown): boolean => error instanceof Error && error.message.includes("MDB_PANIC");

const orEnvironmentError = (error: unknown): unknown => (isPanic(error) ? new EnvironmentError(error) : error);

/** The size of the data file, in pages. */
export interface PageCounts {
  readonly pageBytes: number;
  /** The number of pages that were ever used. */
  readonly end: number;
  /** The number of pages that hold data. */
  readonly used: number;
  /** The number of pages that hold nothing. Most of them can be used again. */
  readonly free: number;
  /** The number of levels of LMDB's tree. */
  readonly depth: number;
  /** The number of pages of the lowest level of the tree, which hold the rows. */
  readonly leaves: number;
  /** The number of pages of the other levels. */
  readonly branches: number;
}

/** The function of the native library that begins to write what was put. lmdb-js calls it once for each transaction. */
interface NativeEnvironment {
  startWriting(instructions: number, onProgress: (status: number) => unknown): void;
}

/** A write that may never be settled by lmdb-js. */
class StartedWrite {
  private isSettled = false;
  private reject: (error: Error) => void = () => undefined;

  /** Settles as `done` does, or rejects when the write failed before. */
  until(done: Promise<unknown>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.reject = reject;
      done.then(
        () => {
          this.isSettled = true;
          resolve();
        },
        (error: unknown) => {
          this.isSettled = true;
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the error of lmdb-js is passed on
          reject(error);
        },
      );
    });
  }

  /** Rejects the write unless it is settled. Returns whether it was not. */
  fail(error: Error): boolean {
    if (this.isSettled) return false;
    this.reject(error);
    return true;
  }
}

/** The values of `status` that are no errors: the end of a transaction, and two steps of it. */
const PROGRESS: readonly number[] = [0, 1, 2];

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

/** The two pages at the start of the file, of which the newer one is current. */
const META_PAGES = 2;

const pagesOf = ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number =>
  treeBranchPageCount + treeLeafPageCount + overflowPages;

/**
 * The number of read transactions that can be open at the same time. A request holds one for a few turns of the event
 * loop, and documents are read under leases instead, so far fewer are needed. Each costs 64 bytes in LMDB's lock file.
 */
export const MAX_READERS = 1024;

/** A key with its new value, or with undefined when the key is deleted. */
export type Put = readonly [key: Buffer, value: Buffer | undefined];

/**
 * The LMDB environment of one data folder. This is the only file that uses lmdb-js, so it holds every choice that the
 * promise "acknowledged means durable" depends on.
 *
 * `overlappingSync: false`: a commit becomes visible to readers when it is flushed. The default on Linux and macOS makes it
 * visible first and flushes later. Then a client can read a value that a power cut removes again, and after a failed
 * flush the failed writes stay visible.
 *
 * No `noSync` and no `noMetaSync`: a commit flushes its data pages first and then the meta page that makes them current,
 * and the promise of a write resolves after both. Without the first flush, a power cut loses acknowledged commits or
 * damages the file. Without the second one, the newest acknowledged commits are lost.
 *
 * `eventTurnBatching: true`, and all puts of one `write` in one turn of the event loop: lmdb-js then keeps them in one
 * transaction. Without it, a crash could leave half of a group.
 *
 * Only `put` and `remove`, never `transaction` and `transactionSync` of lmdb-js: an asynchronous transaction whose callback
 * throws keeps the puts that it has already made, and a synchronous one blocks the event loop for the whole flush. Refusals
 * are therefore decided before the first put (see the group writer).
 *
 * `cache: false` and no `useWritemap`: a cache would return values that are not flushed, and a write map lets a stray
 * pointer of the process change pages of the file.
 *
 * `compression: false`, `encoding` and `keyEncoding` "binary": the stored bytes are exactly those of `keys.ts`,
 * `record.ts` and the document tree. Another setting would be another on-disk format.
 *
 * After a failed write the environment must never be used again: it may show values that are not on the disk. The group
 * writer stops, and the process ends.
 *
 * Limits that callers must respect: a key has at most 1,978 bytes, and lmdb-js does not copy the buffers of a `write`
 * before its commit, so the caller must not change them until the promise resolves.
 */
export class Environment {
  private readonly db: RootDatabase<Buffer, Buffer>;
  /** The write that was started last. */
  private lastWrite: StartedWrite | undefined;
  /** Whether a transaction never began. The native library then holds a lock that closing would wait for, for ever. */
  private isStuck = false;

  /** Opens the environment, and creates its files if they are missing. With `readOnly`, nothing is created or written. */
  constructor(folder: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.db = open<Buffer, Buffer>({
      path: folder,
      // Without this, lmdb-js opens a folder whose name contains a dot as a file.
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
    this.noticeFailedBegin((this.db as unknown as { readonly env: NativeEnvironment }).env);
  }

  /** Reads from the newest durable state. Throws an EnvironmentError after a failed write. */
  get(key: Buffer): Buffer | undefined {
    try {
      return this.db.getBinary(key);
    } catch (cause) {
      throw orEnvironmentError(cause);
    }
  }

  /** Reads like `get`, but returns memory that the next read overwrites. Copy the value before the next read. */
  peek(key: Buffer): Buffer | undefined {
    try {
      const shared = this.db.getBinaryFast(key);
      // lmdb-js returns its whole buffer and sets only `length` to the size of the value.
      return shared?.subarray(0, shared.length);
    } catch (cause) {
      throw orEnvironmentError(cause);
    }
  }

  /** Returns the size of a value in bytes, and 0 when there is none or when the data file is damaged there. */
  sizeOf(key: Buffer): number {
    try {
      return this.peek(key)?.length ?? 0;
    } catch (error) {
      if (isCorruptionError(error)) return 0;
      throw error;
    }
  }

  /** Begins a read transaction. Throws an EnvironmentError when LMDB can begin none. */
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

  /** Returns up to `limit` keys of a range in the newest durable state. */
  firstKeys(start: Buffer, end: Buffer, limit: number): Buffer[] {
    const transaction = this.read();
    try {
      const keys: Buffer[] = [];
      for (const key of transaction.keys(start, end)) {
        if (keys.length === limit) break;
        keys.push(key);
      }
      return keys;
    } finally {
      transaction.done();
    }
  }

  /** Writes all puts in one transaction, or none. Resolves when they are flushed. Wait for one call before the next. */
  async write(puts: readonly Put[]): Promise<void> {
    const write = (this.lastWrite = new StartedWrite());
    // lmdb-js returns the same promise for most puts of one turn.
    const done = new Set<Promise<boolean>>();
    for (const [key, value] of puts) {
      done.add(value ? this.db.put(key, value) : this.db.remove(key));
    }
    try {
      await write.until(Promise.all(done));
    } catch (error) {
      // lmdb-js rejects a second promise with the cause. Without a handler, Node would end the process.
      const { commitError } = error as { commitError?: Promise<unknown> };
      throw await (commitError?.then(
        () => error,
        (cause: unknown) => cause,
      ) ?? Promise.resolve(error));
    }
    // From here on, reads of this thread see the commit.
    this.db.resetReadTxn();
  }

  /** Returns the size of the data file after the last commit. */
  pages(): PageCounts {
    const { lastPageNumber, pageSize, root, free } = this.db.getStats() as Stats;
    const end = lastPageNumber + 1;
    const used = pagesOf(root);
    return {
      pageBytes: pageSize,
      end,
      used,
      free: end - META_PAGES - used - pagesOf(free),
      depth: root.treeDepth,
      leaves: root.treeLeafPageCount,
      branches: root.treeBranchPageCount,
    };
  }

  /**
   * Copies one consistent state into an empty folder. `whole`: the pages are copied without being read, so damaged ones are copied
   * too. `compact`: only the pages that hold what is stored; LMDB may crash over damaged ones. Keeps a read transaction open until the
   * copy is done.
   */
  async copyTo(folder: string, pages: "whole" | "compact"): Promise<void> {
    try {
      await this.db.backup(folder, pages === "compact");
    } catch (error) {
      throw withErrno(error);
    }
  }

  /** Removes the reader slots of processes that have ended, so that LMDB can reuse the pages that they protected. */
  forgetDeadReaders(): void {
    this.db.readerCheck();
  }

  /**
   * Closes the environment. No write, read transaction or copy may be in progress: the native library would read unmapped
   * memory. After a transaction that never began, the environment stays open until the process ends.
   */
  async close(): Promise<void> {
    if (!this.isStuck) await this.db.close();
  }

  /**
   * Makes a write reject when LMDB cannot begin its transaction. lmdb-js only logs this error, and its promise of the write is
   * never settled.
   */
  private noticeFailedBegin(native: NativeEnvironment): void {
    const start = native.startWriting.bind(native);
    const noticing: NativeEnvironment["startWriting"] = (instructions, onProgress) => {
      const write = this.lastWrite;
      start(instructions, (status) => {
        const result = onProgress(status);
        if (!PROGRESS.includes(status)) {
          // After an error of a later step, the promises of lmdb-js have rejected by then.
          setImmediate(() => {
            const error = Object.assign(new Error("LMDB cannot begin a write transaction"), { code: status });
            if (write?.fail(error)) this.isStuck = true;
          });
        }
        return result;
      });
    };
    // The method of the class cannot be assigned.
    Object.defineProperty(native, "startWriting", { value: noticing });
  }

  private begin(): Transaction {
    try {
      return this.db.useReadTransaction();
    } catch (cause) {
      throw new EnvironmentError(cause);
    }
  }
}

/** Adds the error number of the operating system to the error of a copy, of which lmdb-js has only the text. */
function withErrno(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const text = error.message.toLowerCase();
  const [errno] = [...getSystemErrorMap()].find(([, [, known]]) => known === text) ?? [];
  return errno === undefined || "code" in error ? error : Object.assign(error, { errno });
}
