import type { Call, StoreErrorReason, VersionedStore } from "@bolthole/contract";
import type { Effect } from "../ledger/lines.js";
import type { Random } from "../random.js";
import type { Expects } from "./expects.js";
import type { RuntimeState } from "./runtime-state.js";

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
  /** It expects what is not so, and must be refused with this. */
  readonly refusedAs?: StoreErrorReason | undefined;
  /** Undefined: the compare-and-set missed. */
  send(store: VersionedStore, call: Call): Promise<Answer | undefined>;
  /** It is known to have taken effect. */
  adopt(version: string): void;
}

/** What an operation is made of: the state it goes over, its id, and what it expects besides. */
export interface Making extends Pick<Expects, "carried"> {
  readonly random: Random;
  readonly state: RuntimeState;
  readonly id: string;
}

export type Maker = (making: Making) => Operation;
