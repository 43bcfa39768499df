import type { RuntimeId } from "@bolthole/json/model";

/**
 * The codes of all findings, each with its scope: "store", no data of the store can be relied on; "record", one record
 * is lost, its loads fail as DAMAGED_RECORD, and other records are not affected; "space", no data is affected. Findings of
 * the last kind are space on the disk that nothing refers to, or work that the engine completes by itself.
 * docs/operating.md explains each code.
 */
export const FINDING_CODES = {
  "check-crashed": "store",
  "pages-damaged": "store",
  "store-differs": "store",
  "head-missing": "record",
  "head-differs": "record",
  "row-damaged": "record",
  "row-unreadable": "record",
  "row-strange": "record",
  "row-space-damaged": "record",
  "row-space-orphan": "space",
  "row-space-unfinished": "space",
  "document-damaged": "record",
  "document-missing": "record",
  "document-differs": "record",
  "document-miscounted": "record",
  "document-orphan": "space",
  "document-unfinished": "space",
} as const satisfies Record<string, "store" | "record" | "space">;
export type FindingCode = keyof typeof FINDING_CODES;

/** A difference between a store and what was written to it. */
export interface Finding {
  readonly code: FindingCode;
  /** Absent when the finding is not about one runtime, or when its runtime is not known. */
  readonly runtimeId?: RuntimeId | undefined;
  /** The record in the form that load errors use, such as `input state ID`. Absent when it is not about a record. */
  readonly record?: string | undefined;
  /** The values that were expected and found. */
  readonly text: string;
}

/** Whether a finding means that stored data is lost or cannot be relied on. */
export const isDamageFinding = ({ code }: Pick<Finding, "code">): boolean => FINDING_CODES[code] !== "space";

/** Whether a finding means that no data of the store can be relied on. */
export const isFatalFinding = ({ code }: Pick<Finding, "code">): boolean => FINDING_CODES[code] === "store";

/** The number of stored objects. */
export interface StoreCounts {
  readonly runtimes: number;
  /** The snapshots, lifecycle records, operation snapshots, input rows and receipts of all runtimes. */
  readonly rows: number;
  /** The outcomes of requests that are kept for retries. */
  readonly outcomes: number;
}

/**
 * An event of a verification: a finding, the number of bytes read since the last such event, or, as the last event when
 * everything could be read, the counts.
 */
export type VerifyEvent =
  { readonly finding: Finding } | { readonly bytesRead: number } | { readonly counts: StoreCounts };

/** The result of a compaction. */
export interface CompactionResult {
  /** The size of the data file before and after, in bytes. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** The number of damaged records, which stay as they are. */
  readonly damaged: number;
  /** Absent when not everything could be read. */
  readonly counts?: StoreCounts | undefined;
}

/** An event of a compaction: the number of bytes read since the last such event, or, as the last event, the result. */
export type CompactionEvent = { readonly bytesRead: number } | { readonly result: CompactionResult };

/** The maintenance of a whole store. */
export interface StoreMaintenance {
  /** Returns the bytes of a backup file, a consistent copy of the whole store. Read them once, to the end. */
  backUp(): Promise<AsyncIterable<Uint8Array>>;

  /** Reads everything in the store, in one consistent state, and reports damage. */
  verify(): AsyncIterable<VerifyEvent>;

  /** Makes the data file small, and drops the bytes of records that were deleted before. Ends early when its events are not read to the end. */
  compact(): AsyncIterable<CompactionEvent>;
}
