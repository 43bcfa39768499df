import type { ByteRange, DocumentPart, Finding, InputId, RunId, RuntimeId, StoreCounts } from "@bolthole/contract";

/**
 * Names one row. `head` and `tally` are the store's own books: what a runtime, and the store as a whole, hold.
 * An engine may keep each table in a form of its own; it never looks into a value.
 */
export type RowKey =
  | { readonly table: "snapshot"; readonly runtimeId: RuntimeId }
  | { readonly table: "lifecycle"; readonly runtimeId: RuntimeId }
  | { readonly table: "ops"; readonly runtimeId: RuntimeId }
  | { readonly table: "runtimeManifest"; readonly runtimeId: RuntimeId }
  | { readonly table: "input"; readonly runtimeId: RuntimeId; readonly inputId: InputId }
  | { readonly table: "receipt"; readonly runtimeId: RuntimeId; readonly runId: RunId; readonly sequence: bigint }
  | { readonly table: "outcome"; readonly requestId: string }
  | { readonly table: "oauth" }
  | { readonly table: "storeManifest" };
export type Table = RowKey["table"];
export type KeyOf<T extends Table> = Extract<RowKey, { readonly table: T }>;

export interface Row {
  /** The number of the commit that wrote the row. */
  readonly sequence: number;
  /** Over table, key, sequence and value; made and checked in core. */
  readonly checksum: number;
  readonly value: Uint8Array;
}

/**
 * A document to be, in order: new bytes, and stretches of the document that is stored in its place now. The bytes are kept
 * by reference until the commit ends.
 */
export type DocumentParts = readonly DocumentPart[];

/** A document that an engine has made ready for its commit; engines keep more in it than this. */
export interface StagedDocument {
  /** In bytes. */
  readonly length: number;
  /** CRC-32 (as in zlib) of all of it. */
  readonly crc32: number;
  /** About how many bytes of values its commit writes: an engine may share the rest with the stored document. */
  readonly bytes: number;
}

/** Another snapshot was stored meanwhile: the change has to be prepared again. */
export class StaleBaseError extends Error {}

/** Puts a row in the place of one that was read, or deletes that. */
export interface RowWrite {
  /** Into `Unit.reads`. */
  readonly at: number;
  readonly row: Row | undefined;
  /** Goes with a `snapshot` row, and replaces the one that went with the old row. */
  readonly document?: StagedDocument | undefined;
}

/** One operation of the writer: it is applied as a whole, or refused alone. */
export interface WriteBatch<T> {
  /** Every row that is looked at or written. One that is named twice is written under one of its names only. */
  readonly reads: readonly RowKey[];
  /** About how many bytes of values it writes; the writer closes a batch by it. */
  readonly bytes: number;
  /**
   * Pure and synchronous: gets the rows in the order of `reads` and the number of this commit; answers what to write,
   * or throws a refusal. No parsing of values above 64 KiB here.
   */
  decide(rows: readonly (Row | undefined)[], sequence: number): Decision<T>;
}

export interface Decision<T> {
  readonly writes: readonly RowWrite[];
  readonly result: T;
  /** It makes room: an engine that has none left for others still takes it. */
  readonly freesSpace: boolean;
}

/** The rows of one table that lie together, from just after `after` on, in ascending order of the key. */
export type RowRange =
  | { readonly table: "input"; readonly runtimeId: RuntimeId; readonly after?: InputId | undefined }
  | {
      readonly table: "receipt";
      readonly runtimeId: RuntimeId;
      readonly after?: Pick<KeyOf<"receipt">, "runId" | "sequence"> | undefined;
    }
  | { readonly table: "runtimeManifest"; readonly after?: RuntimeId | undefined }
  | { readonly table: "outcome"; readonly after?: string | undefined };

export interface RowEntry<K extends RowKey = RowKey> {
  readonly key: K;
  readonly row: Row;
}

/** One consistent state of all rows, everything in it durable. */
export interface View {
  get(key: RowKey): Promise<Row | undefined>;
  scan<R extends RowRange>(range: R, limit: number): Promise<RowEntry<KeyOf<R["table"]>>[]>;
  /**
   * The bytes that went with the `snapshot` row, or a stretch of them, in pieces of at most 1 MiB. They stay readable after
   * the view has ended, for as long as a reader goes on. A piece is valid until the next but one is asked for: its memory may be
   * used again.
   */
  document(runtimeId: RuntimeId, range?: ByteRange): Promise<AsyncIterable<Uint8Array>>;
}

export interface EngineStats {
  readonly formatVersion: number;
  /** Taken, with what is free inside. */
  readonly storedBytes: number;
  /** Of these, what holds data. */
  readonly usedBytes: number;
  /** What the engine could still take; unknown to one that keeps nothing on a disk of its own. */
  readonly diskFreeBytes?: number | undefined;
  readonly commitSequence: number;
}

/**
 * Where rows are kept. A synchronous engine and one behind a network can both give this: reads and decision of a unit
 * are named beforehand, and nothing else happens inside the writer.
 */
export interface Engine {
  readonly name: string;
  /** False: what is acknowledged does not survive the process. */
  readonly durable: boolean;
  readonly storeId: string;
  /** Makes versions of this store differ from those before a restore. */
  readonly epoch: string;
  view<T>(read: (view: View) => Promise<T>): Promise<T>;
  /**
   * Makes a document ready for a commit, outside the writer; `base` is the sequence of the snapshot row whose document its
   * stretches are of. `Moved` when another one is stored. What is staged is committed or discarded.
   */
  stage(runtimeId: RuntimeId, base: number | undefined, document: DocumentParts): Promise<StagedDocument>;
  /** Forgets a staged document that no commit took. */
  discard(staged: StagedDocument): Promise<void>;
  /**
   * Resolves when the writes are durable, rejects with what `decide` threw, as DISK_FULL or QUOTA when there is no room for
   * them, or as OUTCOME_UNKNOWN.
   */
  commit<T>(unit: WriteBatch<T>): Promise<T>;
  stats(): Promise<EngineStats>;
  /** One consistent copy of everything, as the bytes of a backup file; absent where others back up the engine's files. */
  backUp?(): Promise<AsyncIterable<Uint8Array>>;
  /** Reads everything in one consistent state, beside its own work; answers how much is there. Absent: there is nothing to check. */
  check?(listener: CheckListener): Promise<CheckResult>;
  /** Waits for what is in the writer. */
  close(): Promise<void>;
}

export interface CheckListener {
  readonly onFinding: (finding: Finding) => void;
  /** So many bytes were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckResult {
  /** Of everything that was read; absent when the reading did not come to its end. */
  readonly counts?: StoreCounts | undefined;
  readonly commitSequence?: number | undefined;
}
