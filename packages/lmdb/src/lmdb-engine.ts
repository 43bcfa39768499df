import { setTimeout as sleep } from "node:timers/promises";
import { type CompactionResult, type Finding, type RuntimeId, readFailed, writeFailed } from "@bolthole/contract";
import {
  type BackupCopy,
  type CheckListener,
  type CheckResult,
  type CompactionListener,
  type DocumentRowKey,
  type DocumentParts,
  type Engine,
  EngineLifecycle,
  type EngineStats,
  type FileGuard,
  GroupCommit,
  type RowSlice,
  type StagedDocument,
  type StagedRows,
  StaleBaseError,
  type View,
  type WriteBatch,
  areFilesInPlace,
  isVerified,
} from "@bolthole/core";
import { backUp } from "./maintenance/backup.js";
import { compactOnline } from "./maintenance/online-compaction.js";
import { type OpenCheckOptions, checkBeforeOpen, markClosed } from "./maintenance/check.js";
import { removeScratchFolders } from "./maintenance/scratch-folder.js";
import { checkInProcess } from "./maintenance/check-process.js";
import { type Base, DocumentTrees } from "./document-tree/document-trees.js";
import type { StagedTree } from "./document-tree/build/staged-tree.js";
import { type CounterFacts, loadCounter } from "./counter.js";
import { DiskReservation } from "./disk-reservation.js";
import { Environment, type PageCounts, type ReadTransaction } from "./environment.js";
import { EnvironmentError, isCorruptionError } from "./environment-errors.js";
import { FORMAT_VERSION, claimFormat, loadIdentity, raiseFormat } from "./format.js";
import { diskRefusal, openFailure, preflight } from "./disk-errors.js";
import { LmdbGroup, type Writer } from "./group.js";
import { SEQUENCE_KEY, encodeKey } from "./keys.js";
import { decodeRecord } from "./record.js";
import { RowSpaces, type StagedSpace } from "./row-spaces/row-spaces.js";
import { viewOf } from "./view.js";

export interface LmdbOptions {
  /** Called once, when a write or a flush failed: the store is stopped then, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
  /** Throws when the files of the store are not at their paths any more: the store is stopped then, and `onFailure` is called. */
  readonly guard?: FileGuard | undefined;
  /**
   * Locks this file, which is about to take the place of the data file, and calls `rename`, which puts it there. `guard` accepts it from
   * then on. Unless set, `rename` alone is called.
   */
  readonly replaceDataFile?: ReplaceDataFile | undefined;
  /** The most bytes that the store may hold; unlimited unless set. Growth is refused with QUOTA; clears and replacements are not. */
  readonly quotaBytes?: number | undefined;
  /** The check before the store is opened. Unless set, everything is checked after an unclean end. */
  readonly check?: OpenCheckOptions | undefined;
  /** Called for each damaged record that the check found. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
}

/** How long a compaction waits for the readers of deleted documents. A client that receives nothing is cut off before. */
const GARBAGE_MS = 60_000;
const GARBAGE_POLL_MS = 50;

type ReplaceDataFile = (draft: string, rename: () => void) => void;

const renameAlone: ReplaceDataFile = (_draft, rename) => {
  rename();
};

/** Keeps rows in one LMDB environment. */
export class LmdbEngine implements Engine {
  readonly name = "lmdb";
  readonly durable = true;
  private readonly lifecycle = new EngineLifecycle();
  private isCompacting = false;
  /** Until a view ends, LMDB cannot reuse the pages that later commits free, and the data file grows. */
  readonly viewHoldMs = 10_000;

  private constructor(
    readonly storeId: string,
    readonly epoch: string,
    private readonly folder: string,
    private readonly writer: Writer,
    private readonly groups: GroupCommit<LmdbGroup>,
    private readonly guard: FileGuard | undefined,
    private readonly replaceDataFile: ReplaceDataFile,
  ) {}

  /**
   * Opens the store in a folder, or makes a new one. The folder must exist, and no other process may use it while the engine is
   * open. Throws `UnusableFolderError`, `DamagedStoreError` or `DiskFailureError`.
   */
  static async open(folder: string, options: LmdbOptions = {}): Promise<LmdbEngine> {
    const { onFailure, guard, quotaBytes = Infinity, onFinding } = options;
    const { replaceDataFile = renameAlone } = options;
    const { check = { level: "auto", maxBytes: Infinity } } = options;
    const undo: (() => Promise<void>)[] = [];
    try {
      claimFormat(folder);
      removeScratchFolders(folder);
      preflight(folder);
      for (const finding of await checkBeforeOpen(folder, check)) onFinding?.(finding);
      raiseFormat(folder);
      const environment = new Environment(folder);
      undo.unshift(() => environment.close());
      const reservation = await DiskReservation.open(folder, environment, quotaBytes);
      undo[0] = () => closeFiles(environment, reservation);
      const { storeId, epoch } = await loadIdentity(environment, reservation);
      const sequence = loadCounter(environment, sequenceFacts(environment));
      const trees = new DocumentTrees(environment, (task) =>
        groups.perform({ bytes: task.bytes, prepare: (group) => group.prepareTask(task) }),
      );
      undo.unshift(() => trees.close());
      const spaces = new RowSpaces(environment, {
        perform: (task) => groups.perform({ bytes: task.bytes, prepare: (group) => group.prepareRowTask(task) }),
        performNumbered: (bytes, taskOf) =>
          groups.perform({ bytes, prepare: (group) => group.prepareNumberedTask(taskOf) }),
      });
      const writer = { environment, reservation, trees, spaces, sequence };
      const groups: GroupCommit<LmdbGroup> = new GroupCommit(() => new LmdbGroup(writer), onFailure, guard);
      return new LmdbEngine(storeId, epoch, folder, writer, groups, guard, replaceDataFile);
    } catch (error) {
      for (const close of undo) await close();
      throw openFailure(folder, error);
    }
  }

  view<T>(read: (view: View) => Promise<T>): Promise<T> {
    return this.lifecycle.run("ReadFailed", async () => {
      const transaction = this.begin();
      const ticket = this.writer.trees.leases.enterView();
      try {
        const view = viewOf(transaction, this.writer, (chunks) => this.withErrors(chunks));
        return await read(this.lifecycle.guard(view));
      } catch (error) {
        throw this.errorFor(error);
      } finally {
        transaction.done();
        this.writer.trees.leases.leaveView(ticket);
      }
    });
  }

  stage(key: DocumentRowKey, baseSequence: number | undefined, document: DocumentParts): Promise<StagedDocument> {
    return this.lifecycle.run("WriteFailed", async () => {
      // A document of new bytes alone replaces any other, a damaged one too.
      const isPatch = document.some((part) => !(part instanceof Uint8Array));
      try {
        const base = isPatch ? this.baseOf(key, baseSequence) : undefined;
        return await this.writer.trees.stage(key, base, document, () => this.storedLength(key));
      } catch (error) {
        throw this.errorFor(error, "WriteFailed");
      }
    });
  }

  discard(staged: StagedDocument): Promise<void> {
    this.writer.trees.discard(staged as StagedTree);
    return Promise.resolve();
  }

  stageRows(runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedRows> {
    return this.lifecycle.run("WriteFailed", async () => {
      try {
        return await this.writer.spaces.stage(runtimeId, slices);
      } catch (error) {
        throw this.errorFor(error, "WriteFailed");
      }
    });
  }

  discardRows(staged: StagedRows): Promise<void> {
    this.writer.spaces.discard(staged as StagedSpace);
    return Promise.resolve();
  }

  async commit<T>(batch: WriteBatch<T>): Promise<T> {
    try {
      return await this.groups.commit(batch);
    } catch (error) {
      throw this.errorFor(error, "WriteFailed");
    }
  }

  stats(): Promise<EngineStats> {
    return this.lifecycle.run("ReadFailed", async () => {
      this.begin().done();
      const { end, pageBytes } = this.writer.environment.pages();
      return {
        formatVersion: FORMAT_VERSION,
        storedBytes: end * pageBytes,
        ...(await this.writer.reservation.usage()),
        commitSequence: this.writer.sequence,
      };
    });
  }

  /**
   * Resolves when the documents and row sets that were replaced or discarded before have been deleted, except the nodes that are still
   * being read. They are deleted in the background; callers wait for it only to measure the space in use.
   */
  reclaimed(): Promise<void> {
    return Promise.all([this.writer.trees.reclaimed(), this.writer.spaces.reclaimed()]).then(() => undefined);
  }

  backUp(): Promise<BackupCopy> {
    const { folder, storeId, lifecycle } = this;
    return lifecycle.run("ReadFailed", async () => {
      // What was deleted before would be copied.
      await this.reclaimed();
      return backUp(folder, this.writer.environment, storeId, lifecycle);
    });
  }

  /** Copies the store into a new data file beside the old one, and continues there. See `compactOnline`. */
  compact(listener: CompactionListener): Promise<CompactionResult> {
    const { folder, lifecycle, groups, replaceDataFile } = this;
    const { environment, reservation } = this.writer;
    return lifecycle.run("WriteFailed", async () => {
      if (this.isCompacting) throw writeFailed("BUSY", "the store is being compacted already");
      this.isCompacting = true;
      try {
        await this.withoutGarbage(listener.signal);
        const exclusively = <T>(work: () => Promise<T>): Promise<T> => groups.exclusively(work);
        const stop = (cause: unknown): void => {
          groups.stop(cause);
        };
        return await compactOnline(
          { folder, environment, reservation, lifecycle, exclusively, stop, replaceDataFile },
          listener,
        );
      } finally {
        this.isCompacting = false;
      }
    });
  }

  /** Checks one state of the store in a separate process. Until it ends, the file grows with every write. */
  check(listener: CheckListener): Promise<CheckResult> {
    const { folder, lifecycle } = this;
    return lifecycle.run("ReadFailed", async () => {
      const signal = AbortSignal.any([lifecycle.signal, ...(listener.signal ? [listener.signal] : [])]);
      try {
        return await checkInProcess({ folder, pages: false, rows: true }, { ...listener, signal });
      } catch (error) {
        lifecycle.refuseAfterClosing();
        throw diskRefusal(folder, "the check of the store", error);
      } finally {
        this.writer.environment.forgetDeadReaders();
      }
    });
  }

  /**
   * Closes the store. The data file is the last: no thread of LMDB, no reader and no other process uses it any more when its
   * reserved space is returned.
   */
  close(): Promise<void> {
    const { trees, spaces, environment, reservation } = this.writer;
    return this.lifecycle.close({
      // All three refuse new work immediately. The tasks of the first two are in the queue of the third.
      drain: () => Promise.all([this.groups.close(), trees.close(), spaces.close()]),
      release: async () => {
        // A file of another store may be at the path of the mark.
        if (this.groups.hasFailed || !areFilesInPlace(this.guard)) {
          await reservation.close(undefined);
          await environment.close();
          return;
        }
        await closeFiles(environment, reservation);
        markClosed(this.folder);
      },
    });
  }

  abandon(): void {
    // A file of another store may be at the path of the mark.
    if (!areFilesInPlace(this.guard)) return;
    removeScratchFolders(this.folder);
    if (!this.groups.hasFailed) markClosed(this.folder);
  }

  /** Waits until what was replaced or deleted before is gone. Rejects with BUSY when it is being read for too long. */
  private async withoutGarbage(signal: AbortSignal | undefined): Promise<void> {
    const remains = this.writer.trees.garbageOfNow();
    for (const limit = performance.now() + GARBAGE_MS; ;) {
      await this.reclaimed();
      if (!remains()) return;
      this.lifecycle.refuseAfterClosing("WriteFailed");
      signal?.throwIfAborted();
      if (performance.now() > limit) {
        const text =
          "documents that were replaced or deleted are still being read, so their bytes would stay; try again later";
        throw writeFailed("BUSY", text);
      }
      await sleep(GARBAGE_POLL_MS);
    }
  }

  private storedLength(key: DocumentRowKey): number {
    const record = this.writer.environment.get(encodeKey(key));
    return (record && decodeRecord(record).root?.length) ?? 0;
  }

  /** Finds a base document and holds it in the same turn of the event loop, so that it cannot be deleted in between. */
  private baseOf(key: DocumentRowKey, sequence: number | undefined): Base {
    const record = this.writer.environment.get(encodeKey(key));
    const row = record && decodeRecord(record);
    if (!row || row.sequence !== sequence) throw new StaleBaseError();
    return { sequence, root: row.root, lease: this.writer.trees.leases.hold(key.runtimeId, sequence) };
  }

  private begin(): ReadTransaction {
    this.groups.refuseReadsAfterFailure();
    try {
      return this.writer.environment.read();
    } catch (error) {
      throw this.errorFor(error);
    }
  }

  /** Returns the error for the caller. A read can fail before the failed write itself is reported: then it stops the store. */
  private errorFor(error: unknown, variant: "WriteFailed" | "ReadFailed" = "ReadFailed"): unknown {
    if (!(error instanceof EnvironmentError)) return orDamage(error);
    if (error.isOutOfReaders) {
      return readFailed("BUSY", "too many states of the store are being read at the same time; try again", {
        cause: error,
      });
    }
    this.groups.stop(error.cause);
    return this.groups.refusal(variant);
  }

  /** Yields the chunks of a document, which is still read when its view has ended. */
  private async *withErrors(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    try {
      yield* chunks;
    } catch (error) {
      throw this.errorFor(error);
    }
  }
}

/**
 * Closes LMDB, and then returns the reserved space to the file system. Never in the other order: a transaction that is written
 * while the file is truncated loses its pages.
 */
async function closeFiles(environment: Environment, reservation: DiskReservation): Promise<void> {
  let pages: PageCounts | undefined;
  try {
    pages = environment.pages();
  } catch {
    // Without the number of the last page, the file keeps the reserved space, which does no harm.
  }
  await environment.close();
  await reservation.close(pages);
}

/** Returns DAMAGED_RECORD for a broken page tree of LMDB. The record itself is not known then. */
const orDamage = (error: unknown): unknown =>
  isCorruptionError(error)
    ? readFailed("DAMAGED_RECORD", "the data file is damaged where the record should be", {
        record: "data file",
        cause: error,
      })
    : error;

/** Every commit that changes a row writes the store manifest, so the last commit is not older than it. */
function sequenceFacts(environment: Environment): CounterFacts {
  const key = { table: "storeManifest" } as const;
  const stored = environment.get(encodeKey(key));
  const row = stored && decodeRecord(stored);
  return { key: SEQUENCE_KEY, name: "last commit", atLeast: row && isVerified(key, row) ? row.sequence : 0 };
}
