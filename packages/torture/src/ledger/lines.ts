/**
 * Where a record lies within its runtime: `snapshot`, `lifecycle`, `ops`, `input ID`, `receipt RUN SEQUENCE`, and for
 * the store as a whole `oauth`.
 */
export type RecordKey = string;

/** What an operation makes of a record: its content's digest, or null when it removes it. */
export type Effect = readonly [key: RecordKey, digest: string | null];

/** Of the store as a whole. */
export const STORE = "(store)";

/** Runtimes whose ids begin so are not in the ledger: somebody else looks after them. */
export const UNLEDGERED = "(unledgered)";

/** Before an operation is sent. Operations of one runtime follow each other; those of the store do not. */
export interface SentLine {
  readonly t: "sent";
  /** Its request id. */
  readonly id: string;
  readonly runtime: string;
  readonly method: string;
  readonly effects: readonly Effect[];
  /** Of an OAuth update: the place in the chain of values that it would take. */
  readonly link?: number | undefined;
}

/** An answer: it took effect, now or (`replayed`) before. */
export interface AckLine {
  readonly t: "ack";
  readonly id: string;
  readonly version: string;
  readonly replayed: boolean;
}

/** An answer: it did not take effect, as it should not (a compare-and-set that missed), or it was never sent. */
export interface NotAppliedLine {
  readonly t: "not-applied";
  readonly id: string;
  readonly why: string;
}

/** No answer came: nothing is known. */
export interface LostLine {
  readonly t: "lost";
  readonly id: string;
}

/** From here on the request id may be sealed, whether or not an answer comes. */
export interface SealingLine {
  readonly t: "sealing";
  readonly id: string;
}

/** What `GetCommit` answered. */
export interface StatusLine {
  readonly t: "status";
  readonly id: string;
  readonly state: "applied" | "pending" | "not_found" | "sealed" | "expired";
  readonly version?: string | undefined;
}

/** A repeat was refused, because the request id is sealed. */
export interface SealedLine {
  readonly t: "sealed";
  readonly id: string;
}

/** A repeat of an operation that had been acknowledged, or was found applied. */
export interface AgainLine {
  readonly t: "again";
  readonly id: string;
  readonly version: string;
  readonly replayed: boolean;
}

/** A record as a reader got it; null where there was none. */
export interface ReadLine {
  readonly t: "read";
  readonly runtime: string;
  readonly key: RecordKey;
  readonly digest: string | null;
  readonly version: string | null;
  /** Nothing of this runtime was under way: the content is known exactly. */
  readonly settled: boolean;
}

/** An answer that no fault excuses. */
export interface WrongLine {
  readonly t: "wrong";
  readonly runtime: string;
  readonly what: string;
}

/** The runtime is left for good. */
export interface RetiredLine {
  readonly t: "retired";
  readonly runtime: string;
}

export type Line =
  | SentLine
  | AckLine
  | NotAppliedLine
  | LostLine
  | SealingLine
  | StatusLine
  | SealedLine
  | AgainLine
  | ReadLine
  | WrongLine
  | RetiredLine;
