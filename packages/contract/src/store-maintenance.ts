import type { RuntimeId } from "@bolthole/json/model";

/**
 * What a check of a stored store may find, and what it hurts: the `store`, of which nothing can be relied on; one
 * `record`, which is answered as DATA_LOSS while others go on; or nothing (`space`: room on the disk that nothing names, or
 * work that goes on by itself). docs/operating.md says of each what to do.
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
  "document-damaged": "record",
  "document-missing": "record",
  "document-differs": "record",
  "document-miscounted": "record",
  "document-orphan": "space",
  "document-unfinished": "space",
} as const satisfies Record<string, "store" | "record" | "space">;
export type FindingCode = keyof typeof FINDING_CODES;

/** Something that is not as it was written. */
export interface Finding {
  readonly code: FindingCode;
  /** Absent where it is of no runtime, or of one that cannot be told. */
  readonly runtimeId?: RuntimeId | undefined;
  /** As in the errors of a load, such as `input state ID`. */
  readonly record?: string | undefined;
  readonly text: string;
}

/** Whether something that was stored is lost, or cannot be relied on. */
export const isDamageFinding = ({ code }: Pick<Finding, "code">): boolean => FINDING_CODES[code] !== "space";

/** Whether nothing of the store can be relied on. */
export const isFatalFinding = ({ code }: Pick<Finding, "code">): boolean => FINDING_CODES[code] === "store";

/** How many of each there are. */
export interface StoreCounts {
  readonly runtimes: number;
  /** Of all runtimes: snapshots, lifecycle records, operation snapshots, input states and receipts. */
  readonly rows: number;
  /** Of requests, kept for retries. */
  readonly outcomes: number;
}

/** What a check of the whole store tells, as it goes on. The counts come last, when everything could be read. */
export type VerifyEvent =
  { readonly finding: Finding } | { readonly bytesRead: number } | { readonly counts: StoreCounts };

/** What an operator asks of a store as a whole. */
export interface StoreMaintenance {
  /** One consistent copy of everything, as the bytes of a backup file. Read them once, to their end. */
  backUp(): Promise<AsyncIterable<Uint8Array>>;
  /** Reads everything that is stored, in one consistent state. */
  verify(): AsyncIterable<VerifyEvent>;
}
