import type { Measured } from "./closed-loop.js";
import { type MeasuredCell, median, ratios } from "./rounds.js";

/** One line of the report. */
export interface Row {
  readonly name: string;
  /** The median over the rounds. Null: it was not measured, and the note says why. */
  readonly value: number | null;
  /** The least and the greatest round, when there were several. */
  readonly spread: readonly [least: number, greatest: number] | null;
  readonly unit: string;
  /** Such as `>= 0.8`. Null: shown only. */
  readonly goal: string | null;
  /** Null: there is no goal, or the run was too short to judge. */
  readonly met: boolean | null;
  /** How much of what the goal allows is used: it is met up to 1, and a 2 misses it by half. */
  readonly share: number | null;
  readonly note: string;
}

export interface Goal {
  readonly is: ">=" | "<=";
  readonly bound: number;
}

export const atLeast = (bound: number): Goal => ({ is: ">=", bound });
export const atMost = (bound: number): Goal => ({ is: "<=", bound });

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

export interface Finding {
  readonly name: string;
  /** One for each round. */
  readonly values: readonly number[];
  readonly unit: string;
  readonly goal?: Goal | undefined;
  /** False: only a run of full length says anything about time. */
  readonly isJudged?: boolean | undefined;
  readonly note?: string | undefined;
}

export function rowOf({ name, values, unit, goal, isJudged = true, note = "" }: Finding): Row {
  const value = median(values);
  const isMet = goal && (goal.is === ">=" ? value >= goal.bound : value <= goal.bound);
  const share = goal && (goal.is === ">=" ? goal.bound / value : value / goal.bound);
  return {
    name,
    value: rounded(value),
    spread: values.length > 1 ? [rounded(Math.min(...values)), rounded(Math.max(...values))] : null,
    unit,
    goal: goal ? `${goal.is} ${String(goal.bound)}` : null,
    met: isJudged ? (isMet ?? null) : null,
    share: isJudged && share !== undefined ? rounded(share) : null,
    note,
  };
}

/** A row that could not be measured here. */
export const skippedRow = (name: string, unit: string, goal: Goal | undefined, why: string): Row => ({
  ...rowOf({ name, values: [], unit, goal, isJudged: false }),
  value: null,
  note: `skipped: ${why}`,
});

/** A figure of one cell against that of another, round by round. */
export const ratioRow = (
  name: string,
  figure: keyof Measured,
  [one, other]: readonly [MeasuredCell, MeasuredCell],
  goal: Goal | undefined,
  isJudged: boolean,
): Row => rowOf({ name, values: ratios(one, other, figure), unit: "times", goal, isJudged });

export const callersText = (callers: number): string => (callers === 1 ? "1 caller" : `${String(callers)} callers`);

const figureRows = (cell: MeasuredCell): Row[] =>
  FIGURES.map(({ figure, name, unit }) =>
    rowOf({
      name: `${cell.operation}, ${cell.server.name}, ${callersText(cell.callers)}: ${name}`,
      values: cell.rounds.map((round) => round[figure]),
      unit,
    }),
  );

/** Without what the system does not tell. */
export const rowsOf = ({ cells, rows }: Section): Row[] =>
  [...rows, ...cells.flatMap(figureRows)].filter(({ value }) => value === null || Number.isFinite(value));

/** Four digits say more than was measured. */
const rounded = (value: number): number => Number(value.toPrecision(4));
