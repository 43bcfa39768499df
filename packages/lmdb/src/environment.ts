import { type RootDatabase, type Transaction, open } from "lmdb";
import { ChangedKeys } from "./changed-keys.js";
import { EnvironmentError, isCorruptionError, orEnvironmentError, withErrno } from "./environment-errors.js";
import { StartedWrite } from "./started-write.js";

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
  private file: OpenFile;
  /** The files that were exchanged, until they are closed. */
  private exchanged: Promise<void> = Promise.resolve();
  private changes: ChangedKeys | undefined;

  /** Opens the environment, and creates its files if they are missing. With `readOnly`, nothing is created or written. */
  constructor(folder: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.file = new OpenFile(folder, readOnly);
  }

  /** Reads from the newest durable state. Throws an EnvironmentError after a failed write. */
  get(key: Buffer): Buffer | undefined {
    try {
      return this.file.db.getBinary(key);
    } catch (cause) {
      throw orEnvironmentError(cause);
    }
  }

  /** Reads like `get`, but returns memory that the next read overwrites. Copy the value before the next read. */
  peek(key: Buffer): Buffer | undefined {
    try {
      const shared = this.file.db.getBinaryFast(key);
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
    const { file } = this;
    const { db } = file;
    const transaction = file.begin();
    let isDone = false;
    return {
      get: (key) => db.get(key, { transaction }),
      range: (start, end) => db.getRange({ start, end, transaction, snapshot: true }),
      keys: (start, end) => db.getKeys({ start, end, transaction, snapshot: true }),
      lastKey: (start, end) => {
        const [last] = db.getKeys({ start: end, end: start, reverse: true, limit: 1, transaction, snapshot: true });
        return last;
      },
      done: () => {
        transaction.done();
        if (!isDone) file.leave();
        isDone = true;
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
    await this.file.write(puts);
    for (const [key] of puts) this.changes?.add(key);
  }

  /** Returns the size of the data file after the last commit. */
  pages(): PageCounts {
    const { lastPageNumber, pageSize, root, free } = this.file.db.getStats() as Stats;
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
    const { file } = this;
    file.enter();
    try {
      await file.db.backup(folder, pages === "compact");
    } catch (error) {
      throw withErrno(error);
    } finally {
      file.leave();
    }
  }

  /** Removes the reader slots of processes that have ended, so that LMDB can reuse the pages that they protected. */
  forgetDeadReaders(): void {
    this.file.db.readerCheck();
  }

  /**
   * Notes the keys of all writes that end from now on, until `end` is called. One caller at a time may do so. `onFull` is called when they
   * need more than `limitBytes` of memory: they are not complete then.
   */
  noteChanges(limitBytes: number, onFull: () => void): ChangedKeys {
    if (this.changes) throw new Error("the changes of the environment are being noted already");
    this.changes = new ChangedKeys(limitBytes, onFull, () => {
      this.changes = undefined;
    });
    return this.changes;
  }

  /**
   * Continues with the file of another environment, which must have the same pairs and is not used otherwise. The old file is closed when
   * the read transactions and copies that have begun in it are done. No write may be in progress.
   */
  continueWith(other: Environment): void {
    const old = this.file;
    this.file = other.file;
    this.exchanged = Promise.all([this.exchanged, old.closeUnused()]).then(() => undefined);
    // `close` reports the error.
    this.exchanged.catch(() => undefined);
  }

  /**
   * Closes the environment. No write, read transaction or copy may be in progress: the native library would read unmapped
   * memory. After a transaction that never began, the environment stays open until the process ends.
   */
  async close(): Promise<void> {
    await this.exchanged;
    await this.file.close();
  }
}

/** A data file that lmdb-js has open. */
class OpenFile {
  readonly db: RootDatabase<Buffer, Buffer>;
  /** The read transactions and copies in progress. */
  private uses = 0;
  private becomeUnused: (() => void) | undefined;
  /** The write that was started last. */
  private lastWrite: StartedWrite | undefined;
  /** Whether a transaction never began. The native library then holds a lock that closing would wait for, for ever. */
  private isStuck = false;

  constructor(folder: string, readOnly: boolean) {
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

  /** Begins a read transaction. Call `leave` when it is done. */
  begin(): Transaction {
    try {
      const transaction = this.db.useReadTransaction();
      this.enter();
      return transaction;
    } catch (cause) {
      throw new EnvironmentError(cause);
    }
  }

  enter(): void {
    this.uses += 1;
  }

  leave(): void {
    this.uses -= 1;
    if (this.uses === 0) this.becomeUnused?.();
  }

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

  async close(): Promise<void> {
    if (!this.isStuck) await this.db.close();
  }

  /** Closes the file when nothing uses it any more. */
  async closeUnused(): Promise<void> {
    if (this.uses > 0) {
      await new Promise<void>((resolve) => {
        this.becomeUnused = resolve;
      });
    }
    await this.close();
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
}
