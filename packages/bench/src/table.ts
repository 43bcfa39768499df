import Table from "cli-table3";
import type { Report, Row, Section } from "./report.js";
import { FIGURES } from "./report.js";
import { medianOf } from "./rounds.js";

/** The report for people. */
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
  const findings = newTable(["what", "value", "rounds", "goal", "met"], 1);
  for (const row of rows) {
    findings.push([row.name, valueText(row), spreadText(row), row.goal ?? "shown", verdictText(row)]);
  }
  const tables = cells.length > 0 ? [figures, findings] : [findings];
  return [title, ...tables.map(String)].join("\n");
}

export const valueText = ({ value, unit, note }: Row): string => (value === null ? note : `${digits(value)} ${unit}`);

export const spreadText = ({ spread }: Row): string => (spread ? spread.map(digits).join(" to ") : "");

export const verdictText = ({ met, share }: Row): string =>
  met === null || share === null ? "-" : met ? "yes" : `NO, by ${digits(share)} times`;

/** Text to the left, numbers to the right. */
const newTable = (head: string[], textColumns: number): Table.Table =>
  new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, column) => (column < textColumns ? "left" : "right")),
  });

const digits = (value: number): string =>
  Number.isFinite(value) ? value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2) : "-";
