import { type Seen } from "../load/load-record.js";
import type { RecordKey } from "../ledger/lines.js";

/** The partition of the one record that belongs to no runtime. */
export const OAUTH = "oauth";

export interface ExpectedRecord {
  readonly record: RecordKey;
  /** Null: it must not be there. */
  readonly version: string | null;
}

/** What a write does and asks for, as the checker's models know it (linear-checker/history.go). */
export interface WriteFacts {
  /** Digests by record; null deletes. */
  readonly sets: Readonly<Record<RecordKey, string | null>>;
  /** Records that must not be there yet. */
  readonly inserts?: readonly RecordKey[] | undefined;
  /** The fence token of the lifecycle record that is written. */
  readonly newFence?: string | undefined;
  readonly fence?: string | undefined;
  readonly versions?: readonly ExpectedRecord[] | undefined;
  /** Missed, it is an answer and no refusal. */
  readonly ifCurrent?: ExpectedRecord | undefined;
}

/** One operation as its client saw it. Instants are nanoseconds of one clock. */
export interface HistoryLine extends Partial<WriteFacts> {
  readonly partition: string;
  readonly kind: "init" | "write" | "read" | "list";
  readonly client: number;
  readonly call: number;
  /** Absent: no answer came, it may take effect at any later time, or never. */
  readonly return?: number;
  /** Of a write: ok, missed, or the reason of the refusal; absent when no answer came. */
  readonly result?: string;
  readonly version?: string | undefined;
  readonly record?: RecordKey;
  readonly seen?: Seen | undefined;
  readonly rows?: Readonly<Record<RecordKey, Seen>>;
}

/** Of one clock for all clients of this process, in nanoseconds since it began. */
export const now = (): number => Math.round(performance.now() * 1e6);
