/** What the reference's decoder of a trace gives as loaded bytes. */
export type LoadedText = { readonly text: string } | { readonly base64: string };

export interface TraceError {
  readonly variant: string;
  readonly text: string;
  readonly expected?: string;
  readonly actual?: string;
}

/** An answer of a store, in the form of the traces (TRACES.md). */
export interface TraceResult {
  readonly ok?: null | boolean | string | LoadedText | readonly string[] | { readonly present: boolean };
  readonly err?: TraceError;
  /** Of an OAuth update: how often the closure ran, and what it got. */
  readonly calls?: number;
  readonly seen?: LoadedText | null;
}

/** Texts and decimal numbers, as they stand in the file; `<name>_base64` where bytes are no UTF-8. */
export type TraceArgs = Readonly<Record<string, unknown>>;

export interface TraceStep {
  readonly op: string;
  /** Absent on the store-wide calls. */
  readonly runtime_id?: string;
  readonly args: TraceArgs;
  /** Before this step the store is opened again on the same data. */
  readonly reopen?: boolean;
  /** The answer to match. */
  readonly sqlite: TraceResult;
  /** Only where it differs. */
  readonly memory?: TraceResult;
}

export interface Trace {
  readonly name: string;
  readonly steps: readonly TraceStep[];
}

export const isTrace = (line: unknown): line is Trace =>
  typeof line === "object" && line !== null && "steps" in line && Array.isArray(line.steps);

/** The cases of a file: one JSON object for each line. */
export const parseLines = (text: string): unknown[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
