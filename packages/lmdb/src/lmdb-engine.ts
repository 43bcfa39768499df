import { type Finding, type RuntimeId, readFailed } from "@bolthole/contract";
import {
  type CheckListener,
  type CheckResult,
  type DocumentRowKey,
  type DocumentParts,
  type Engine,
  EngineLifecycle,
  type EngineStats,
  type EntryOf,
  GroupCommit,
  type RowEntry,
  type RowKey,
  type RowRange,
  type RowSlice,
  type StagedDocument,
  type StagedRows,
  StaleBaseError,
  type View,
  type WriteBatch,
  isVerified,
  keyText,
} from "@bolthole/core";
import { backUp, removeUnfinishedBackups } from "./maintenance/backup.js";
import { type OpenCheckOptions, checkBeforeOpen, markClosed } from "./maintenance/check.js";
import { checkInProcess } from "./maintenance/check-process.js";
import { type Base, DocumentTrees } from "./document-tree/document-trees.js";
import type { NodeReader } from "./document-tree/read/node-reader.js";
import type { StagedTree } from "./document-tree/build/staged-tree.js";
import { type CounterFacts, loadCounter } from "./counter.js";
import { DiskReservation } from "./disk-reservation.js";
import {
  Environment,
  EnvironmentError,
  type PageCounts,
  type ReadTransaction,
  isCorruptionError,
} from "./environment.js";
import { FORMAT_VERSION, claimFormat, loadIdentity, raiseFormat } from "./format.js";
import { diskRefusal, openFailure, preflight } from "./disk-errors.js";
import { LmdbGroup, type Writer } from "./group.js";
import {
  DEFAULT_ROW_SPACE,
  SEQUENCE_KEY,
  TABLES,
  encodeKey,
  inputBounds,
  isInDefaultRowSpace,
  isOfRuntime,
  keysOfDefaultRowSpace,
  outcomeBounds,
  parseRuntimeKey,
  receiptBounds,
  runtimeBounds,
  trailingReceipt,
  trailingUuid,
} from "./keys.js";
import { type StoredRow, decodeRecord } from "./record.js";
import { RowSpaces, type StagedSpace } from "./row-spaces/row-spaces.js";

export interface LmdbOptions {
  /** Called once, when a write or a flush failed: the store is stopped then, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
  /** The most bytes that the store may hold; unlimited unless set. Further writes are refused with QUOTA, clears are not. */
  readonly quotaBytes?: number | undefined;
  /** The check before the store is opened. Unless set, everything is checked after an unclean end. */
  readonly check?: OpenCheckOptions | undefined;
  /** Called for each damaged record that the check found. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
}

/** Keeps rows in one LMDB environment. */
export class LmdbEngine implements Engine {
  readonly name = "lmdb";
  readonly durable = true;
  private readonly lifecycle = new EngineLifecycle();
  /** Until a view ends, LMDB cannot reuse the pages that later commits free, and the data file grows. */
  readonly viewHoldMs = 10_000;

  private constructor(
    readonly storeId: string,
    readonly epoch: string,
    private readonly folder: string,
    private readonly writer: Writer,
    private readonly groups: GroupCommit<LmdbGroup>,
  ) {}

  /**
   * Opens the store in a folder, or makes a new one. The folder must exist, and no other process may use it while the engine is
   * open. Throws `UnusableFolderError`, `DamagedStoreError` or `DiskFailureError`.
   */
  static async open(folder: string, options: LmdbOptions = {}): Promise<LmdbEngine> {
    const { onFailure, quotaBytes = Infinity, check = { level: "auto", maxBytes: Infinity }, onFinding } = options;
    const undo: (() => Promise<void>)[] = [];
    try {
      claimFormat(folder);
      removeUnfinishedBackups(folder);
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
      const groups: GroupCommit<LmdbGroup> = new GroupCommit(() => new LmdbGroup(writer), onFailure);
      return new LmdbEngine(storeId, epoch, folder, writer, groups);
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

  stage(key: DocumentRowKey, base: number | undefined, document: DocumentParts): Promise<StagedDocument> {
    return this.lifecycle.run("WriteFailed", async () => {
      // A document of new bytes alone replaces any other, a damaged one too.
      const isPatch = document.some((part) => !(part instanceof Uint8Array));
      try {
        return await this.writer.trees.stage(key, isPatch ? this.baseOf(key, base) : undefined, document);
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
   * Resolves when all replaced and discarded documents and row sets have been deleted, except the nodes that are still being
   * read. They are deleted in the background; callers wait for it only to measure the space in use.
   */
  reclaimed(): Promise<void> {
    return Promise.all([this.writer.trees.reclaimed(), this.writer.spaces.reclaimed()]).then(() => undefined);
  }

  backUp(): Promise<AsyncIterable<Uint8Array>> {
    const { folder, storeId, lifecycle } = this;
    return lifecycle.run("ReadFailed", () => backUp(folder, this.writer.environment, storeId, lifecycle));
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
        throw diskRefusal("the check of the store", error);
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
        if (this.groups.hasFailed) {
          await reservation.close(undefined);
          await environment.close();
          return;
        }
        await closeFiles(environment, reservation);
        markClosed(this.folder);
      },
    });
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

function viewOf(
  transaction: ReadTransaction,
  { trees, spaces }: Pick<Writer, "trees" | "spaces">,
  withErrors: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): View {
  const found = new Map<RuntimeId, number>();
  const spaceOf = (runtimeId: RuntimeId): number => {
    if (!spaces.isUsed) return DEFAULT_ROW_SPACE;
    const space = found.get(runtimeId) ?? spaces.spaceOf(runtimeId, transaction);
    found.set(runtimeId, space);
    return space;
  };
  const row = (key: RowKey): StoredRow | undefined => {
    const isInSpace = key.table === "input" || key.table === "receipt";
    const record = transaction.get(isInSpace ? encodeKey(key, spaceOf(key.runtimeId)) : encodeKey(key));
    return record && decodeRecord(record);
  };
  const readers = new Map<string, NodeReader>();
  const readerOf = (key: DocumentRowKey): NodeReader => {
    const name = keyText(key);
    const reader = readers.get(name) ?? trees.rangeReader(key);
    readers.set(name, reader);
    return reader;
  };
  return {
    get: (key) => Promise.resolve(row(key)),
    scan: <R extends RowRange>(range: R, limit: number, bytes = Infinity) =>
      // The switch in `scan` returns the keys of the range's table, which the compiler cannot infer.
      Promise.resolve(scan(transaction, spaceOf, range, { limit, bytes }) as EntryOf<R>[]),
    document: (key, range) => {
      const { root, sequence = 0 } = row(key) ?? {};
      const lease = trees.leases.hold(key.runtimeId, sequence);
      return Promise.resolve(withErrors(trees.read(key, root, lease, range, range && readerOf(key))));
    },
  };
}

/** The most rows of a page, and the bytes of values at which it ends. */
interface PageLimit {
  readonly limit: number;
  readonly bytes: number;
}

function scan(
  transaction: ReadTransaction,
  spaceOf: (runtimeId: RuntimeId) => number,
  range: RowRange,
  most: PageLimit,
): RowEntry[] {
  switch (range.table) {
    case "input":
      return collect(
        transaction,
        inputBounds(range.runtimeId, spaceOf(range.runtimeId), range.after?.inputId),
        most,
        (key) => ({
          table: "input",
          runtimeId: range.runtimeId,
          inputId: trailingUuid(key),
        }),
      );
    case "receipt":
      return collect(
        transaction,
        receiptBounds(range.runtimeId, spaceOf(range.runtimeId), range.after),
        most,
        (key) => ({
          table: "receipt",
          runtimeId: range.runtimeId,
          ...trailingReceipt(key),
        }),
      );
    case "outcome":
      return collect(transaction, outcomeBounds(range.after?.requestId), most, (key) => ({
        table: "outcome",
        requestId: trailingUuid(key),
      }));
    case "runtimeManifest":
      return scanManifests(transaction, range.after?.runtimeId, most.limit);
  }
}

function collect(
  transaction: ReadTransaction,
  { start, end }: { start: Buffer; end: Buffer },
  { limit, bytes }: PageLimit,
  keyOf: (key: Buffer) => RowKey,
): RowEntry[] {
  const entries: RowEntry[] = [];
  let left = bytes;
  for (const { key, value } of transaction.range(start, end)) {
    const row = decodeRecord(value);
    entries.push({ key: keyOf(key), row });
    left -= row.value.length;
    if (entries.length === limit || left <= 0) break;
  }
  return entries;
}

/** Reads runtime manifests. Each is the first row of its runtime, so the scan skips the other rows of the runtime. */
function scanManifests(transaction: ReadTransaction, after: string | undefined, limit: number): RowEntry[] {
  const entries: RowEntry[] = [];
  let { start } = runtimeBounds(after);
  const { end } = runtimeBounds(undefined);
  while (entries.length < limit) {
    const [first] = transaction.range(start, end);
    if (!first) break;
    const { runtimeId: plainId, table, afterRuntime } = parseRuntimeKey(first.key);
    const row = decodeRecord(first.value);
    if (isInDefaultRowSpace(first.key) && isLeftOver(transaction, first.key)) {
      start = afterRuntime;
      continue;
    }
    const runtimeId = plainId ?? hashedIdOf(transaction, first.key, afterRuntime);
    if (runtimeId === undefined) {
      // A check of the whole store reports these rows. A runtime without a readable id cannot be addressed.
      start = afterRuntime;
      continue;
    }
    entries.push({
      key: { table: "runtimeManifest", runtimeId },
      row: table === TABLES.runtimeManifest.number ? row : MISSING_MANIFEST,
    });
    start = afterRuntime;
  }
  return entries;
}

/** Returns the runtime id that the rows of a hashed one contain, from the first row in which it is not damaged. */
function hashedIdOf(transaction: ReadTransaction, first: Buffer, end: Buffer): string | undefined {
  for (const { key, value } of transaction.range(first, end)) {
    const { runtimeId } = decodeRecord(value);
    if (runtimeId !== undefined && isOfRuntime(key, runtimeId)) return runtimeId;
  }
  return undefined;
}

/** Whether a row in a default row space belongs to no runtime: it is being deleted, or its runtime has another row space. */
function isLeftOver(transaction: ReadTransaction, key: Buffer): boolean {
  const { pointer, garbage } = keysOfDefaultRowSpace(key);
  return transaction.get(garbage) !== undefined || transaction.get(pointer) !== undefined;
}

/** Replaces a manifest that is missing although its runtime has rows. It matches no checksum, so that the reader reports it. */
const MISSING_MANIFEST = { sequence: -1, checksum: -1, value: Buffer.of() };

/** Every commit that changes a row writes the store manifest, so the last commit is not older than it. */
function sequenceFacts(environment: Environment): CounterFacts {
  const key = { table: "storeManifest" } as const;
  const stored = environment.get(encodeKey(key));
  const row = stored && decodeRecord(stored);
  return { key: SEQUENCE_KEY, name: "last commit", atLeast: row && isVerified(key, row) ? row.sequence : 0 };
}
