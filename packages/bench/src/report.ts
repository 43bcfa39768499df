import type { Measured } from "./closed-loop.js";
import { type MeasuredCell, medianOf } from "./rounds.js";

/** One line of the report. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Such as `>= 0.8`. Null: shown only. */
  readonly goal: string | null;
  /** Null: there is no goal, or the run was too short to judge. */
  readonly met: boolean | null;
}

export interface Goal {
  readonly is: ">=" | "<=";
  readonly bound: number;
}

/** What one subject has found: the figures of its cells, and what follows from them. */
export interface Section {
  readonly title: string;
  readonly cells: readonly MeasuredCell[];
  readonly rows: readonly Row[];
}

export interface Report {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rows: readonly Row[];
}

/** The figures of every cell, in the order of the table's columns. */
export const FIGURES = [
  { figure: "rate", name: "rate", unit: "calls/s" },
  { figure: "p50Ms", name: "p50", unit: "ms" },
  { figure: "p99Ms", name: "p99", unit: "ms" },
  { figure: "serverCpuUs", name: "server CPU", unit: "us/call" },
  { figure: "clientCpuUs", name: "client CPU", unit: "us/call" },
] as const satisfies readonly { readonly figure: keyof Measured; readonly name: string; readonly unit: string }[];

/** Not judged: only a run of full length says anything about time. */
export function ratioRow(name: string, value: number, goal: Goal | undefined, isJudged: boolean): Row {
  const isMet = goal && (goal.is === ">=" ? value >= goal.bound : value <= goal.bound);
  return {
    name,
    value: rounded(value),
    unit: "times",
    goal: goal ? `${goal.is} ${String(goal.bound)}` : null,
    met: isJudged ? (isMet ?? null) : null,
  };
}

export const callersText = (callers: number): string => (callers === 1 ? "1 caller" : `${String(callers)} callers`);

const figureRows = (cell: MeasuredCell): Row[] =>
  FIGURES.map(({ figure, name, unit }) => ({
    name: `${cell.operation}, ${cell.server.name}, ${callersText(cell.callers)}: ${name}`,
    value: rounded(medianOf(cell, figure)),
    unit,
    goal: null,
    met: null,
  }));

/** Without what the system does not tell. */
export const rowsOf = ({ cells, rows }: Section): Row[] =>
  [...rows, ...cells.flatMap(figureRows)].filter(({ value }) => Number.isFinite(value));

/** Four digits say more than was measured. */
export const rounded = (value: number): number => Number(value.toPrecision(4));
