import type { Call, VersionedStore } from "@bolthole/contract";
import type { Effect } from "../ledger/lines.js";

export interface Answer {
  readonly version: string;
  readonly replayed: boolean;
}

/** One mutation with its arguments, ready to be sent any number of times under its one request id. */
export interface Operation {
  readonly id: string;
  readonly runtime: string;
  readonly method: string;
  readonly effects: readonly Effect[];
  /** Of an OAuth update: the place in the chain of values that it would take. */
  readonly link?: number | undefined;
  /** A compare-and-set that may miss, or that must. */
  readonly misses: "never" | "maybe" | "always";
  /** Undefined: the compare-and-set missed. */
  send(store: VersionedStore, call: Call): Promise<Answer | undefined>;
  /** It is known to have taken effect. */
  adopt(version: string): void;
}
