/** From the one who breaks things to a client process. */
export type Order =
  | { readonly do: "load"; readonly target: string }
  /** Begin nothing new; report when what is under way has ended. */
  | { readonly do: "halt" }
  /** Find out what became of operations without an answer. */
  | { readonly do: "resolve"; readonly target: string };

export type Report = { readonly done: "load" | "resolve" } | { readonly broken: string };

/** The one argument of a client process. */
export interface ClientSettings {
  readonly name: string;
  readonly seed: number;
  readonly lanes: number;
  /** One of its lanes writes sessions of hundreds of kilobytes. */
  readonly hasLargeSessions: boolean;
  readonly ledger: string;
  /** Refusals that the fault explains. */
  readonly excuses: readonly string[];
}
