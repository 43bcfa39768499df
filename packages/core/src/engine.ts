import type { ByteRange, CompactionResult, DocumentPart, Finding, RuntimeId, StoreCounts } from "@bolthole/contract";
import type { TableDigest } from "./commit/manifests.js";
import type { DocumentRowKey, KeyOf, Row, RowKey, ReadSet, RowHandle, RowReader, RowSetKey } from "./commit/row.js";
import { nextIteration } from "./yield-budget.js";

export type { DocumentRowKey, KeyOf, Row, RowKey, RowSetKey, Table } from "./commit/row.js";

/**
 * A new document in order: new bytes, and ranges of the document that is stored at present. The bytes are kept by reference
 * until the commit ends.
 */
export type DocumentParts = readonly DocumentPart[];

/** A document that an engine has prepared for a commit. Engines add members of their own. */
export interface StagedDocument {
  /** The length of the document in bytes. */
  readonly length: number;
  /** The CRC-32 (as in zlib) of the whole document. */
  readonly crc32: number;
  /** About how many bytes of values the commit writes. An engine may share the rest with the stored document. */
  readonly bytes: number;
}

/**
 * Makes some rows of a row set with this sequence. An engine may call it again with another sequence; only the last rows count.
 * Rows that are kept from the stored row set may have their own sequences.
 */
export type RowSlice = (sequence: number) => readonly RowEntry<RowSetKey>[];

/** A row set that an engine has stored for a commit, where no reader sees it. Engines add members of their own. */
export interface StagedRows {
  /** The sequence that the slices got: no commit has it, and no other row set. 0 when there are no slices. */
  readonly sequence: number;
  readonly input: TableDigest;
  readonly receipt: TableDigest;
}

/** The record in a DAMAGED_RECORD error of an engine that cannot find the row set of a runtime. */
export const ROW_SPACE_RECORD = "row space";

/** Replaces the row set of a runtime: every input row and every receipt that it has when the batch is applied. */
export interface RowSetReplacement {
  readonly runtimeId: RuntimeId;
  /** The new row set. Undefined when no row remains. */
  readonly rows: StagedRows | undefined;
}

/** Thrown when another document was stored since a change was prepared. The change must be prepared again. */
export class StaleBaseError extends Error {
  override readonly name = "StaleBaseError";
}

/** Replaces a row that the batch has read, or deletes it. */
export interface RowWrite {
  readonly handle: RowHandle;
  readonly row: Row | undefined;
  /** The document of the row, if its table may have one. Absent: the row has none. It replaces the document of the old row. */
  readonly document?: StagedDocument | undefined;
}

/** One operation of the writer. It is applied as a whole, or refused alone. */
export interface WriteBatch<T> {
  /** Every row that the batch reads or writes. */
  readonly reads: ReadSet;
  /** About how many bytes of values the batch writes. The writer limits the size of a group by it. */
  readonly bytes: number;
  /**
   * Returns what to write, or throws a refusal. It is synchronous, pure except that it may read the clock, and does not parse
   * values above 64 KiB. An engine may call it again over newer rows and with another sequence; only its last result counts.
   */
  decide(rows: RowReader, sequence: number): Decision<T>;
}

export interface Decision<T> {
  readonly writes: readonly RowWrite[];
  /**
   * Takes effect together with the writes. A write of a row of this runtime's row set is put into the new row set, which must
   * not be undefined then and must not have the row already.
   */
  readonly replaceRows?: RowSetReplacement | undefined;
  readonly result: T;
  /** Whether the batch only frees space. An engine that has no space left for others still accepts it. */
  readonly freesSpace: boolean;
}

/** The rows of one table that are adjacent in key order, beginning after the row `after`. */
export type RowRange =
  | { readonly table: "input"; readonly runtimeId: RuntimeId; readonly after?: KeyOf<"input"> | undefined }
  | { readonly table: "receipt"; readonly runtimeId: RuntimeId; readonly after?: KeyOf<"receipt"> | undefined }
  | { readonly table: "runtimeManifest"; readonly after?: KeyOf<"runtimeManifest"> | undefined }
  | { readonly table: "outcome"; readonly after?: KeyOf<"outcome"> | undefined };

export interface RowEntry<K extends RowKey = RowKey> {
  readonly key: K;
  readonly row: Row;
}
export type EntryOf<R extends RowRange> = RowEntry<KeyOf<R["table"]>>;

/** One consistent state of all rows. Everything in it is durable. */
export interface View {
  get(key: RowKey): Promise<Row | undefined>;
  /**
   * Returns up to `limit` rows in ascending order of their keys. Fewer than that are the last ones of the range, except when
   * their values have `bytes` or more: an engine may stop there.
   */
  scan<R extends RowRange>(range: R, limit: number, bytes?: number): Promise<EntryOf<R>[]>;
  /**
   * Returns the document of a row, or a range of it, in pieces of at most 1 MiB. The pieces stay readable after the
   * view has ended, as long as the reader continues. A piece is valid until the next but one is requested: its memory may be
   * reused then.
   */
  document(key: DocumentRowKey, range?: ByteRange): Promise<AsyncIterable<Uint8Array>>;
}

const PAGE_ROWS = 1024;
/** A page ends at about this many bytes of values: a few milliseconds of the event loop. */
const PAGE_BYTES = 1 << 20;

/**
 * Reads a range to its end, page by page, and lets the event loop run between two pages. All pages show one state if `view` is
 * a single view.
 */
export async function* pagesOf<R extends RowRange>(
  view: Pick<View, "scan">,
  range: R,
  pageRows = PAGE_ROWS,
): AsyncGenerator<EntryOf<R>[], void> {
  for (let next = range; ;) {
    const page = await view.scan(next, pageRows, PAGE_BYTES);
    const last = page.at(-1);
    if (!last) return;
    yield page;
    const bytes = page.reduce((total, { row }) => total + row.value.length, 0);
    if (page.length < pageRows && bytes < PAGE_BYTES) return;
    await nextIteration();
    next = { ...range, after: last.key };
  }
}

export interface EngineStats {
  readonly formatVersion: number;
  /** The size of the store in bytes, with the free space inside it. */
  readonly storedBytes: number;
  /** The part of `storedBytes` that holds data. */
  readonly usedBytes: number;
  /** The space left on the disk in bytes. Absent when the engine has no disk space of its own. */
  readonly diskFreeBytes?: number | undefined;
  readonly commitSequence: number;
}

/**
 * The storage of rows. A synchronous engine and one behind a network can both implement it: a write batch names its reads in
 * advance, and its decision is pure.
 */
export interface Engine {
  readonly name: string;
  /** Whether acknowledged changes survive the process. */
  readonly durable: boolean;
  readonly storeId: string;
  /** The first part of every version. Each restore changes it, so that no version from before the restore is used again. */
  readonly epoch: string;
  /**
   * How long a view may stay open while its reader waits for something else, in milliseconds. An open view delays writers in
   * some engines, and keeps space from them in others. 0: only for the time of its reads.
   */
  readonly viewHoldMs: number;
  view<T>(read: (view: View) => Promise<T>): Promise<T>;
  /**
   * Prepares a document of a row for a commit, outside the writer. `base` is the sequence of the stored row whose document the
   * ranges refer to; throws `StaleBaseError` when the document has ranges and another row is stored. A staged document must be
   * committed or discarded.
   */
  stage(key: DocumentRowKey, base: number | undefined, document: DocumentParts): Promise<StagedDocument>;
  /** Drops a staged document that was not committed. */
  discard(staged: StagedDocument): Promise<void>;
  /**
   * Stores a row set for a commit, outside the writer. The slices are in ascending order of their keys, the input rows first,
   * and no key is in them twice. An engine may write each slice in one transaction, so a slice should have at most a few
   * hundred rows and about 1 MiB. All get one sequence, which no commit has. A staged row set must be committed or discarded;
   * when this rejects, there is none. Rejects with the errors of `slices` and of `commit`.
   */
  stageRows(runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedRows>;
  /** Drops a staged row set that was not committed. */
  discardRows(staged: StagedRows): Promise<void>;
  /**
   * Resolves when the writes are durable. Rejects with the error that `decide` threw, with DISK_FULL or QUOTA when there is no
   * space for the writes, or with OUTCOME_UNKNOWN.
   */
  commit<T>(batch: WriteBatch<T>): Promise<T>;
  stats(): Promise<EngineStats>;
  /** Makes one consistent copy of the store, of a state that is not before the call. Absent where the engine's files have other tools. */
  backUp?(): Promise<BackupCopy>;
  /**
   * Makes the data file small, and drops the bytes of deleted records from it, while the engine works. Rejects with an AbortError after
   * the listener's signal. Absent where the engine's files have other tools. No check may run.
   */
  compact?(listener: CompactionListener): Promise<CompactionResult>;
  /** Reads everything in one consistent state while the engine works, and reports damage. Absent when nothing can be checked. */
  check?(listener: CheckListener): Promise<CheckResult>;
  /**
   * Moves what only open files still contain into the data file, after another file of the store was removed. Absent when every
   * acknowledged change is in the data file.
   */
  saveFromOpenFiles?(): Promise<void>;
  /**
   * Closes the engine. Resolves when nothing of it uses the store any more: no call, no task of its own and no other process.
   *
   * From this call on, every new call and every further read of a running view rejects with SHUTTING_DOWN, and changes nothing.
   * Changes that were accepted before are completed, and running views and stagings are waited for. Checks and backups are
   * aborted. A document whose view has ended may end with SHUTTING_DOWN. A second call returns the same promise.
   *
   * There is no time limit. A process that cannot wait any longer may end without closing, which is safe as a crash is.
   */
  close(): Promise<void>;
  /**
   * Removes unfinished files when a signal ends the process, which is not an unclean end: it waits for nothing, and changes that are
   * not complete are not applied. The engine must not be used afterwards. Absent when no file is left.
   */
  abandon?(): void;
}

/** A consistent copy of a store. Each iteration yields the bytes of the backup file from the beginning, also at the same time. */
export interface BackupCopy extends AsyncIterable<Uint8Array> {
  /** The number of the last commit in the copy. */
  readonly commitSequence: number;
  /** Releases the disk space. Reads that have not ended reject. Closing the engine does the same. */
  close(): Promise<void>;
}

export interface CompactionListener {
  /** Called with the number of bytes that were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckListener {
  readonly onFinding: (finding: Finding) => void;
  /** Called with the number of bytes that were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckResult {
  /** The number of rows of each kind. Absent when the check did not reach its end. */
  readonly counts?: StoreCounts | undefined;
  readonly commitSequence?: number | undefined;
}
