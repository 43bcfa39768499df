import type { Way } from "../kinds/kind.js";

/** From the one who breaks things to a client process. */
export type Order =
  | { readonly do: "load"; readonly way: Way }
  /** Begin nothing new; report when what is under way has ended. */
  | { readonly do: "halt" }
  /** Find out what became of operations without an answer. */
  | { readonly do: "resolve"; readonly way: Way };

export type Report = { readonly done: "load" | "resolve" } | { readonly broken: string };

/** The one argument of a client process. */
export interface ClientSettings {
  readonly name: string;
  readonly seed: number;
  readonly lanes: number;
  /** Of the sessions of its first lane; those of the others are small. */
  readonly sessions: "small" | "large" | "huge";
  /** Whether it takes part in replacing the one OAuth value. */
  readonly sharesOauth: boolean;
  readonly ledger: string;
  /** Refusals that the fault explains. */
  readonly excuses: readonly string[];
}
