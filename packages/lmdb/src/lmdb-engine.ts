import { type Finding, type RuntimeId, readFailed } from "@bolthole/contract";
import type {
  CheckListener,
  CheckResult,
  DocumentParts,
  Engine,
  EngineStats,
  RowEntry,
  KeyOf,
  RowRange,
  RowKey,
  RowSlice,
  StagedRows,
  WriteBatch,
  View,
} from "@bolthole/core";
import { GroupCommit, StaleBaseError, type StagedDocument } from "@bolthole/core";
import { backUp, removeUnfinishedBackups } from "./maintenance/backup.js";
import { type OpenCheckOptions, checkBeforeOpen, markClosed } from "./maintenance/check.js";
import { checkInProcess } from "./maintenance/check-process.js";
import { checkDocuments } from "./document-tree/read/check.js";
import { type Base, DocumentTrees } from "./document-tree/document-trees.js";
import type { NodeReader } from "./document-tree/read/node-reader.js";
import type { StagedTree } from "./document-tree/build/staged-tree.js";
import { DiskReservation } from "./disk-reservation.js";
import { Environment, EnvironmentError, type ReadTransaction, isCorruptionError } from "./environment.js";
import { FORMAT_VERSION, claimFormat, loadIdentity, raiseFormat } from "./format.js";
import { openFailure, preflight } from "./disk-errors.js";
import { LmdbGroup, type Writer } from "./group.js";
import {
  DEFAULT_ROW_SPACE,
  SEQUENCE_KEY,
  TABLES,
  encodeKey,
  inputBounds,
  isInDefaultRowSpace,
  isOfRuntime,
  outcomeBounds,
  parseRuntimeKey,
  receiptBounds,
  runtimeBounds,
  spaceGarbageKey,
  trailingReceipt,
  trailingUuid,
} from "./keys.js";
import { type StoredRow, decodeRecord } from "./record.js";
import { RowSpaces, type StagedSpace } from "./row-spaces/row-spaces.js";

export interface LmdbOptions {
  /** Called once, when a write or flush failed: nothing may be written any more, and the process should end. */
  readonly onFailure?: ((cause: unknown) => void) | undefined;
  /** How many bytes the store may hold; more is refused as QUOTA, clears go on. Without end unless given. */
  readonly quotaBytes?: number | undefined;
  /** What is looked at before the store is opened; unless told otherwise, everything after an unclean end. */
  readonly check?: OpenCheckOptions | undefined;
  /** Called for each record that this look found to be damaged. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
}

/** Rows in one LMDB environment, written by one writer in groups. */
export class LmdbEngine implements Engine {
  readonly name = "lmdb";
  readonly durable = true;

  private constructor(
    readonly storeId: string,
    readonly epoch: string,
    private readonly folder: string,
    private readonly writer: Writer,
    private readonly groups: GroupCommit<LmdbGroup>,
  ) {}

  /**
   * The folder must exist, and belong to this process alone while the engine is open. Throws an UnusableFolder, a
   * DamagedStore, or a FailedDisk.
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
      undo.unshift(() => reservation.close());
      const { storeId, epoch } = await loadIdentity(environment, reservation);
      const sequence = environment.get(SEQUENCE_KEY)?.readDoubleLE() ?? 0;
      const trees = new DocumentTrees(environment, (task) =>
        groups.perform({ bytes: task.bytes, prepare: (group) => group.prepareTask(task) }),
      );
      const spaces = new RowSpaces(environment, {
        perform: (task) => groups.perform({ bytes: task.bytes, prepare: (group) => group.prepareTask(task) }),
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

  async view<T>(read: (view: View) => Promise<T>): Promise<T> {
    const transaction = this.begin();
    const ticket = this.writer.trees.leases.enterView();
    try {
      return await read(viewOf(transaction, this.writer, (chunks) => this.told(chunks)));
    } catch (error) {
      throw this.toldOf(error);
    } finally {
      transaction.done();
      this.writer.trees.leases.leaveView(ticket);
    }
  }

  async stage(runtimeId: RuntimeId, base: number | undefined, document: DocumentParts): Promise<StagedDocument> {
    // A document of new bytes alone takes the place of anything, a damaged one too.
    const isPatch = document.some((part) => !(part instanceof Uint8Array));
    try {
      return await this.writer.trees.stage(runtimeId, isPatch ? this.baseOf(runtimeId, base) : undefined, document);
    } catch (error) {
      throw this.toldOf(error, "WriteFailed");
    }
  }

  discard(staged: StagedDocument): Promise<void> {
    this.writer.trees.discard(staged as StagedTree);
    return Promise.resolve();
  }

  async stageRows(runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedRows> {
    try {
      return await this.writer.spaces.stage(runtimeId, slices);
    } catch (error) {
      throw this.toldOf(error, "WriteFailed");
    }
  }

  discardRows(staged: StagedRows): Promise<void> {
    this.writer.spaces.discard(staged as StagedSpace);
    return Promise.resolve();
  }

  async commit<T>(unit: WriteBatch<T>): Promise<T> {
    try {
      return await this.groups.commit(unit);
    } catch (error) {
      throw this.toldOf(error, "WriteFailed");
    }
  }

  async stats(): Promise<EngineStats> {
    this.begin().done();
    const { end, pageBytes } = this.writer.environment.pages();
    return {
      formatVersion: FORMAT_VERSION,
      storedBytes: end * pageBytes,
      ...(await this.writer.reservation.usage()),
      commitSequence: this.writer.sequence,
    };
  }

  /**
   * Resolves when nothing is left on the disk of documents and row sets that were dropped or never committed, but what somebody reads.
   * It happens by itself; this is for those who count.
   */
  reclaimed(): Promise<void> {
    return Promise.all([this.writer.trees.reclaimed(), this.writer.spaces.reclaimed()]).then(() => undefined);
  }

  /**
   * What is wrong with the stored documents, or not finished, in one consistent state. Reads all of them and gives others
   * turns; while it goes on, the file grows by what is written, so it should be read to its end without pauses.
   */
  async *checkDocuments(): AsyncGenerator<Finding, void> {
    const transaction = this.writer.environment.read();
    try {
      yield* checkDocuments(transaction);
    } finally {
      transaction.done();
    }
  }

  backUp(): Promise<AsyncIterable<Uint8Array>> {
    return backUp(this.folder, this.writer.environment, this.storeId);
  }

  /** In a process of its own, which reads one state beside this one: while it does, the file grows by what is written. */
  async check(listener: CheckListener): Promise<CheckResult> {
    try {
      return await checkInProcess({ folder: this.folder, pages: false, rows: true }, listener);
    } finally {
      this.writer.environment.forgetDeadReaders();
    }
  }

  async close(): Promise<void> {
    await this.writer.trees.close();
    await this.writer.spaces.close();
    await this.groups.close();
    await this.writer.reservation.close();
    await this.writer.environment.close();
    if (!this.groups.hasFailed) markClosed(this.folder);
  }

  /** Found and held in one go: nothing of it can be dropped in between. */
  private baseOf(runtimeId: RuntimeId, sequence: number | undefined): Base {
    const record = this.writer.environment.get(encodeKey({ table: "snapshot", runtimeId }));
    const row = record && decodeRecord(record);
    if (!row || row.sequence !== sequence) throw new StaleBaseError();
    return { sequence, root: row.root, lease: this.writer.trees.leases.hold(runtimeId, sequence) };
  }

  /** The native library may know of a failed write before its writer does; then a reader is the first to hear of it. */
  private begin(): ReadTransaction {
    this.groups.refuseReadsAfterFailure();
    try {
      return this.writer.environment.read();
    } catch (error) {
      throw this.toldOf(error);
    }
  }

  /** What a caller hears of an error; a reader who is the first to meet a failed write stops the writer. */
  private toldOf(error: unknown, variant: "WriteFailed" | "ReadFailed" = "ReadFailed"): unknown {
    if (!(error instanceof EnvironmentError)) return orDamage(error);
    if (error.isOutOfReaders) {
      return readFailed("BUSY", "too many states of the store are being read; try again", { cause: error });
    }
    this.groups.stop(error.cause);
    return this.groups.refusal(variant);
  }

  /** A document is read on after its view has ended. */
  private async *told(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    try {
      yield* chunks;
    } catch (error) {
      throw this.toldOf(error);
    }
  }
}

/** The tree of the data file itself is broken: no record can be named. */
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
  told: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
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
  const readers = new Map<RuntimeId, NodeReader>();
  const readerOf = (runtimeId: RuntimeId): NodeReader => {
    const reader = readers.get(runtimeId) ?? trees.rangeReader(runtimeId);
    readers.set(runtimeId, reader);
    return reader;
  };
  return {
    get: (key) => Promise.resolve(row(key)),
    scan: <R extends RowRange>(range: R, limit: number) =>
      // The switch inside gives each table its own kind of key, which the compiler cannot follow.
      Promise.resolve(scan(transaction, spaceOf, range, limit) as RowEntry<KeyOf<R["table"]>>[]),
    document: (runtimeId, range) => {
      const { root, sequence = 0 } = row({ table: "snapshot", runtimeId }) ?? {};
      const lease = trees.leases.hold(runtimeId, sequence);
      return Promise.resolve(told(trees.read(runtimeId, root, lease, range, range && readerOf(runtimeId))));
    },
  };
}

function scan(
  transaction: ReadTransaction,
  spaceOf: (runtimeId: RuntimeId) => number,
  range: RowRange,
  limit: number,
): RowEntry[] {
  switch (range.table) {
    case "input":
      return collect(
        transaction,
        inputBounds(range.runtimeId, spaceOf(range.runtimeId), range.after?.inputId),
        limit,
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
        limit,
        (key) => ({
          table: "receipt",
          runtimeId: range.runtimeId,
          ...trailingReceipt(key),
        }),
      );
    case "outcome":
      return collect(transaction, outcomeBounds(range.after?.requestId), limit, (key) => ({
        table: "outcome",
        requestId: trailingUuid(key),
      }));
    case "runtimeManifest":
      return scanHeads(transaction, range.after?.runtimeId, limit);
  }
}

function collect(
  transaction: ReadTransaction,
  { start, end }: { start: Buffer; end: Buffer },
  limit: number,
  keyOf: (key: Buffer) => RowKey,
): RowEntry[] {
  const entries: RowEntry[] = [];
  for (const { key, value } of transaction.range(start, end)) {
    if (entries.length === limit) break;
    entries.push({ key: keyOf(key), row: decodeRecord(value) });
  }
  return entries;
}

/** Heads are the first rows of their runtimes: from one it jumps over the rest of the runtime to the next. */
function scanHeads(transaction: ReadTransaction, after: string | undefined, limit: number): RowEntry[] {
  const entries: RowEntry[] = [];
  let { start } = runtimeBounds(after);
  const { end } = runtimeBounds(undefined);
  while (entries.length < limit) {
    const [first] = transaction.range(start, end);
    if (!first) break;
    const { runtimeId: plainId, table, afterRuntime } = parseRuntimeKey(first.key);
    const row = decodeRecord(first.value);
    const runtimeId = plainId ?? row.runtimeId;
    // Replaced rows that are not deleted yet, of a runtime that has no other rows: they belong to no runtime.
    if (isInDefaultRowSpace(first.key) && isGarbage(transaction, first.key, runtimeId)) {
      start = afterRuntime;
      continue;
    }
    if (runtimeId === undefined || !isOfRuntime(first.key, runtimeId)) {
      throw readFailed("DAMAGED_RECORD", "the id of a stored runtime cannot be read", { record: "runtime manifest" });
    }
    entries.push({
      key: { table: "runtimeManifest", runtimeId },
      row: table === TABLES.runtimeManifest.number ? row : VANISHED,
    });
    start = afterRuntime;
  }
  return entries;
}

/** Whether the default row space that a key belongs to is being deleted. The row contains a hashed runtime id. */
const isGarbage = (transaction: ReadTransaction, key: Buffer, runtimeId: RuntimeId | undefined): boolean =>
  runtimeId !== undefined &&
  isOfRuntime(key, runtimeId) &&
  transaction.get(spaceGarbageKey(runtimeId, DEFAULT_ROW_SPACE)) !== undefined;

/** In the place of a head that is not there, though rows of its runtime are: no checksum fits it. */
const VANISHED = { sequence: -1, checksum: -1, value: Buffer.of() };
