import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { goalPlot } from "./goal-plot.js";
import type { Report } from "./report.js";
import { spreadText, valueText, verdictText } from "./table.js";

const DOCS = join(__dirname, "..", "..", "..", "docs");
const BEGIN = "<!-- measured: `pnpm bench --write-docs` writes from here -->";
const END = "<!-- to here -->";

/** The machine's facts that a reader needs; folders and the like are nobody's business. */
const FACTS = [
  ["date", "cpu", "cores", "memory", "system", "fileSystem"],
  ["node", "grpc-js", "lmdb", "etcd", "loadAverageBefore", "rounds"],
].flat();

/** Writes the measured part of docs/performance.md, and the plot beside it. */
export function writePerformancePage(report: Report): void {
  const file = join(DOCS, "performance.md");
  writeFileSync(file, withMeasured(readFileSync(file, "utf8"), report));
  writeFileSync(join(DOCS, "performance.svg"), goalPlot(report.rows));
}

/** The page with what was measured put between its marks. */
export function withMeasured(page: string, report: Report): string {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error("docs/performance.md has lost its marks");
  return [before, BEGIN, "\n", measured(report), END, after].join("");
}

function measured({ machine, rows }: Report): string {
  const judged = rows.filter(({ goal }) => goal !== null);
  const shown = rows.filter(({ goal }) => goal === null);
  return [
    "<!-- prettier-ignore-start -->",
    "",
    FACTS.filter((name) => name in machine)
      .map((name) => `${name} ${String(machine[name])}`)
      .join("; "),
    "",
    "| what | goal | measured | least to greatest round | met |",
    "|---|---|---|---|---|",
    ...judged.map((row) => line([row.name, row.goal ?? "", valueText(row), spreadText(row), verdictText(row)])),
    "",
    "Shown without a goal:",
    "",
    "| what | measured | least to greatest round |",
    "|---|---|---|",
    ...shown.map((row) => line([row.name, valueText(row), spreadText(row)])),
    "",
    "<!-- prettier-ignore-end -->",
    "",
  ].join("\n");
}

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
