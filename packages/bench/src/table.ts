import Table from "cli-table3";
import type { Report, Section } from "./report.js";
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
  const ratios = newTable(["what", "value", "goal", "met"], 1);
  for (const { name, value, unit, goal, met } of rows) {
    ratios.push([name, `${digits(value)} ${unit}`, goal ?? "shown", met === null ? "-" : met ? "yes" : "NO"]);
  }
  const tables = cells.length > 0 ? [figures, ratios] : [ratios];
  return [title, ...tables.map(String)].join("\n");
}

/** Text to the left, numbers to the right. */
const newTable = (head: string[], textColumns: number): Table.Table =>
  new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, column) => (column < textColumns ? "left" : "right")),
  });

const digits = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
