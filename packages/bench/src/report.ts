import Table from "cli-table3";
import type { CallFigures } from "./load/loops.js";
import { type MeasuredCell, median, medianOf, ratios, type Run } from "./rounds.js";

/** One line of the report. */
export interface Row {
  readonly name: string;
  /** The median over the rounds; null when it was not measured, and the note says why. */
  readonly value: number | null;
  /** The values of the lowest and the highest round, when there were several. */
  readonly spread: readonly [least: number, greatest: number] | null;
  readonly unit: string;
  /** Such as `>= 0.8`; null when there is no goal. */
  readonly goal: string | null;
  /** Whether the goal is met; null when there is no goal, or the run was too short. */
  readonly met: boolean | null;
  /** The value relative to the goal: the goal is met up to 1, and 2 misses it by a factor of two. */
  readonly share: number | null;
  readonly note: string;
}

export interface Goal {
  readonly is: ">=" | "<=";
  readonly bound: number;
}

export const atLeast = (bound: number): Goal => ({ is: ">=", bound });
export const atMost = (bound: number): Goal => ({ is: "<=", bound });

/** The results of one row group: the figures of its cells, and the rows made from them. */
export interface Section {
  readonly title: string;
  readonly cells: readonly MeasuredCell[];
  readonly rows: readonly Row[];
}

/** Measures one group of rows. It ends every process that it starts, also when it fails. */
export type RowGroup = (run: Run) => Promise<Section>;

export interface Report {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rows: readonly Row[];
}

/** The figures of each cell, in the order of the table's columns. */
const FIGURES = [
  { figure: "rate", name: "rate", unit: "calls/s" },
  { figure: "p50Ms", name: "p50", unit: "ms" },
  { figure: "p99Ms", name: "p99", unit: "ms" },
  { figure: "serverCpuUs", name: "server CPU", unit: "us/call" },
  { figure: "clientCpuUs", name: "client CPU", unit: "us/call" },
] as const satisfies readonly { readonly figure: keyof CallFigures; readonly name: string; readonly unit: string }[];

/** The measured values of one row. */
interface MeasuredRow {
  readonly name: string;
  /** The value of each round. */
  readonly values: readonly number[];
  readonly unit: string;
  readonly goal?: Goal | undefined;
  /** False for a short run, whose times are not meaningful. */
  readonly isJudged?: boolean | undefined;
  readonly note?: string | undefined;
}

export function rowOf({ name, values, unit, goal, isJudged = true, note = "" }: MeasuredRow): Row {
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

/** Makes a row that could not be measured on this machine. */
export const skippedRow = (name: string, unit: string, goal: Goal | undefined, why: string): Row => ({
  ...rowOf({ name, values: [], unit, goal, isJudged: false }),
  value: null,
  note: `skipped: ${why}`,
});

/** Makes a row with the ratio of a figure of two cells, round by round. */
export const ratioRow = (
  name: string,
  figure: keyof CallFigures,
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

/** Returns all rows of a section, except figures that this system does not provide. */
export const rowsOf = ({ cells, rows }: Section): Row[] =>
  [...rows, ...cells.flatMap(figureRows)].filter(({ value }) => value === null || Number.isFinite(value));

/** Rounds to four digits, which is more than the precision of the measurements. */
const rounded = (value: number): number => Number(value.toPrecision(4));

/** Returns the report as text tables. */
export function renderTable({ machine }: Report, sections: readonly Section[]): string {
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${String(value)}`);
  return [`Machine: ${facts.join("; ")}`, ...sections.map(renderSection), ""].join("\n\n");
}

function renderSection({ title, cells, rows }: Section): string {
  const figures = newTable(
    ["operation", "server", "callers", ...FIGURES.map(({ name, unit }) => `${name}\n${unit}`)],
    2,
  );
  for (const cell of cells) {
    const values = FIGURES.map(({ figure }) => digits(medianOf(cell, figure)));
    figures.push([cell.operation, cell.server.name, String(cell.callers), ...values]);
  }
  const results = newTable(["what", "value", "rounds", "goal", "met"], 1);
  for (const row of rows) {
    results.push([row.name, valueText(row), spreadText(row), row.goal ?? "none", verdictText(row)]);
  }
  const tables = cells.length > 0 ? [figures, results] : [results];
  return [title, ...tables.map(String)].join("\n");
}

export const valueText = ({ value, unit, note }: Row): string => (value === null ? note : `${digits(value)} ${unit}`);

export const spreadText = ({ spread }: Row): string => (spread ? spread.map(digits).join(" to ") : "");

export const verdictText = ({ met, share }: Row): string =>
  met === null || share === null ? "-" : met ? "yes" : `no, by a factor of ${digits(share)}`;

/** Makes a table with text aligned left and numbers aligned right. */
const newTable = (head: string[], textColumns: number): Table.Table =>
  new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, column) => (column < textColumns ? "left" : "right")),
  });

const digits = (value: number): string =>
  Number.isFinite(value) ? value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2) : "-";
