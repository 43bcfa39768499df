import type { RuntimeStore, VersionedStore } from "@bolthole/contract";

/** What an implementation promises. A case that needs more than is promised is skipped, and listed as skipped. */
export interface Capabilities {
  /** What is acknowledged is there after `close` and another `open` of the same site. */
  readonly durable: boolean;
  /** Handles have `versioned`. */
  readonly versions: boolean;
  /** Session documents are checked by the reference's transcript rules, not only as JSON with an id. */
  readonly transcriptRules: boolean;
  /** Every 64-bit sequence is a receipt key of its own (section 14.5). */
  readonly fullSequences: boolean;
  /** Handles have `hold`. */
  readonly holds: boolean;
  /** Handles have `putRawRow`: the store lies in the tables of the reference (section 9.1). */
  readonly rawRows: boolean;
}
export type Capability = keyof Capabilities;

/** What somebody else writes into a table of the reference, past the store. */
export interface RawRow {
  readonly table: string;
  /** The key columns; a sequence is a number. */
  readonly key: Readonly<Record<string, string | bigint>>;
  readonly value: Buffer;
}

/** One opened store. */
export interface StoreHandle {
  readonly store: RuntimeStore;
  /** The same store with versions, request ids and expectations. */
  readonly versioned?: VersionedStore | undefined;
  /** Lets no mutation reach the writer until the returned function is called. */
  readonly hold?: (() => () => void) | undefined;
  readonly putRawRow?: ((row: RawRow) => Promise<void>) | undefined;
  close(): Promise<void>;
}

/** One set of data, empty at first. At most one handle is open at a time. */
export interface StoreSite {
  /** For a durable store, a new handle on the same data. */
  open(): Promise<StoreHandle>;
  /** Called once, after the last handle is closed. */
  remove(): Promise<void>;
}

/**
 * How an implementation hands itself to the suite. Keep its `documentBytes` limit at a few MiB here: the suite sends a
 * document above every advertised limit.
 */
export interface StoreFactory {
  readonly capabilities: Capabilities;
  /** A site of its own for every case. */
  createSite(): Promise<StoreSite>;
}
