import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RunReport } from "./run.js";

/** The page with the results of recorded runs. */
export const EVIDENCE_FILE = join(__dirname, "..", "..", "..", "docs", "evidence", "durability.md");

/** One recorded run: a row in the table of its kind. A figure that a kind does not have is undefined. */
export interface RunRow {
  readonly date: string;
  readonly command: string;
  readonly seed: number;
  readonly cycles: number | undefined;
  readonly acknowledged: number | undefined;
  /** Operations without a response. The next four members count their final results. */
  readonly unanswered: number | undefined;
  readonly applied: number | undefined;
  readonly sealed: number | undefined;
  readonly appliedByRepeat: number | undefined;
  readonly notApplied: number | undefined;
  readonly events: string;
  readonly violations: number;
}

/** One run against a control: a row in the table of controls. */
export interface ControlRow {
  readonly kind: string;
  readonly control: string;
  readonly date: string;
  /** The cycle in which the control was caught; undefined when it was not caught. */
  readonly cycle: number | undefined;
  /** The promises that were found broken. */
  readonly promises: string;
}

const RUN_HEAD = [
  ["date", "command", "seed", "cycles", "acknowledged writes"],
  ["without a response", "applied", "sealed", "applied by a repeat", "not applied"],
  ["events", "violations"],
].flat();
const CONTROL_HEAD = ["kind", "control", "date", "caught in cycle", "by the promise"];
const CONTROLS = "controls";

/** Adds a finished run to the page. */
export function recordRun(report: RunReport, command: string): void {
  rewritePage((page) => withRun(page, report.kind, runRow(report, command, today())));
}

/** Writes the result of a run against a control into the page, in the place of the last one. */
export function recordControl({ kind, cycles, violations }: RunReport, control: string): void {
  const isCaught = violations.length > 0;
  const promises = [...new Set(violations.map(({ promise }) => promise))].join(", ");
  const row = { kind, control, date: today(), cycle: isCaught ? cycles : undefined, promises };
  rewritePage((page) => withControl(page, row));
}

export function runRow(report: RunReport, command: string, date: string): RunRow {
  const { seed, cycles, acknowledged, unanswered, endings = {}, events, violations } = report;
  const counts = [
    ...Object.entries(endings).map(([how, count]) => [`daemon ended by ${how}`, count] as const),
    ...Object.entries(events),
  ];
  return {
    date,
    command,
    seed,
    cycles,
    acknowledged,
    unanswered: unanswered?.count,
    applied: unanswered?.applied,
    sealed: unanswered?.sealed,
    appliedByRepeat: unanswered?.appliedByRepeat,
    notApplied: unanswered?.notApplied,
    events: counts.map(([what, count]) => `${what}: ${count.toLocaleString("en")}`).join("; "),
    violations: violations.length,
  };
}

/** Returns the page with one more row in the table of the kind. */
export function withRun(page: string, kind: string, row: RunRow): string {
  const lines = page.split("\n");
  lines.splice(tableOf(lines, kind, RUN_HEAD).end, 0, runLine(row));
  return lines.join("\n");
}

/** Returns the page with this row in the place of the row of the same kind and control. */
export function withControl(page: string, row: ControlRow): string {
  const lines = page.split("\n");
  const { start, end } = tableOf(lines, CONTROLS, CONTROL_HEAD);
  const at = lines
    .slice(start, end)
    .map(controlRow)
    .findIndex((old) => old.kind === row.kind && old.control === row.control);
  if (at < 0) lines.splice(end, 0, controlLine(row));
  else lines[start + at] = controlLine(row);
  return lines.join("\n");
}

/** Reads the recorded runs of a kind. */
export function readRuns(page: string, kind: string): RunRow[] {
  const lines = page.split("\n");
  const { start, end } = tableOf(lines, kind, RUN_HEAD);
  return lines.slice(start, end).map((text) => {
    const [date = "", command = "", seed, cycles, acknowledged, unanswered, ...rest] = cellsOf(text);
    const [applied, sealed, appliedByRepeat, notApplied, events = "", violations] = rest;
    return {
      date,
      command: command.slice(1, -1),
      seed: number(seed) ?? Number.NaN,
      cycles: number(cycles),
      acknowledged: number(acknowledged),
      unanswered: number(unanswered),
      applied: number(applied),
      sealed: number(sealed),
      appliedByRepeat: number(appliedByRepeat),
      notApplied: number(notApplied),
      events,
      violations: number(violations) ?? Number.NaN,
    };
  });
}

/** Reads the recorded results of all controls. */
export function readControls(page: string): ControlRow[] {
  const lines = page.split("\n");
  const { start, end } = tableOf(lines, CONTROLS, CONTROL_HEAD);
  return lines.slice(start, end).map(controlRow);
}

/** The names of the page's sections: one for each kind, and the controls. */
export const sectionsOf = (page: string): string[] => [...page.matchAll(/^## (.*)$/gm)].map(([, name = ""]) => name);

export const runLine = (row: RunRow): string =>
  lineOf([
    row.date,
    `\`${row.command}\``,
    String(row.seed),
    ...[row.cycles, row.acknowledged, row.unanswered].map(cell),
    ...[row.applied, row.sealed, row.appliedByRepeat, row.notApplied].map(cell),
    row.events,
    cell(row.violations),
  ]);

export const controlLine = ({ kind, control, date, cycle, promises }: ControlRow): string =>
  lineOf([kind, control, date, cycle === undefined ? "not caught" : String(cycle), promises]);

function controlRow(line: string): ControlRow {
  const [kind = "", control = "", date = "", cycle, promises = ""] = cellsOf(line);
  return { kind, control, date, cycle: cycle === "not caught" ? undefined : number(cycle), promises };
}

/** The range of the rows of a section's table, which has this head. */
function tableOf(lines: readonly string[], section: string, head: readonly string[]): { start: number; end: number } {
  const heading = lines.indexOf(`## ${section}`);
  const top = heading < 0 ? -1 : lines.indexOf(lineOf(head), heading);
  if (top < 0) {
    throw new Error(`docs/evidence/durability.md needs a section "## ${section}" with a table headed ${lineOf(head)}`);
  }
  const start = top + 2;
  let end = start;
  while (lines[end]?.startsWith("|")) end += 1;
  return { start, end };
}

const MISSING = "-";
const cell = (value: number | undefined): string => (value === undefined ? MISSING : value.toLocaleString("en"));
const number = (text: string | undefined): number | undefined =>
  text === undefined || text === MISSING ? undefined : Number(text.replaceAll(",", ""));
const lineOf = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
const cellsOf = (line: string): string[] => line.slice(2, -2).split(" | ");
const today = (): string => new Date().toISOString().slice(0, 10);

function rewritePage(change: (page: string) => string): void {
  writeFileSync(EVIDENCE_FILE, change(readFileSync(EVIDENCE_FILE, "utf8")));
}
