import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Report, type Row, spreadText, valueText, verdictText } from "./report.js";

export const DOCS = join(__dirname, "..", "..", "..", "docs");
const PAGE = "performance.md";
const PLOT = "performance.svg";
const EVIDENCE = join("evidence", "performance.md");

const BEGIN = "<!-- begin: written by `pnpm bench --write-docs` -->";
const END = "<!-- end -->";

/** The facts about the machine that the evidence names. Folders are left out. */
const FACTS = [
  ["date", "cpu", "cores", "memory", "system", "fileSystem"],
  ["node", "grpc-js", "lmdb", "etcd", "loadAverageBefore", "rounds"],
].flat();

/** Writes the goals into docs/performance.md, all figures into docs/evidence/performance.md, and the plot. */
export function writePerformancePages(report: Report): void {
  for (const [name, withFigures] of [
    [PAGE, withGoals],
    [EVIDENCE, withEvidence],
  ] as const) {
    const file = join(DOCS, name);
    writeFileSync(file, withFigures(readFileSync(file, "utf8"), report));
  }
  writeFileSync(join(DOCS, PLOT), goalPlot(report.rows));
}

/** Returns the page with the table of goals between its marks. */
export function withGoals(page: string, { rows }: Report): string {
  const goals = rows.filter(({ goal }) => goal !== null);
  const judged = goals.filter(({ met }) => met !== null);
  const met = judged.filter(({ met }) => met).length;
  return withMarked(page, [
    `${String(met)} of ${String(judged.length)} goals are met.`,
    "",
    "| what | goal | measured | met |",
    "|---|---|---|---|",
    ...goals.map((row) => line([row.name, row.goal ?? "", valueText(row), verdictText(row)])),
  ]);
}

/** Returns the evidence page with the machine and all figures between its marks. */
export function withEvidence(page: string, { machine, rows }: Report): string {
  const goals = rows.filter(({ goal }) => goal !== null);
  const others = rows.filter(({ goal }) => goal === null);
  return withMarked(page, [
    FACTS.filter((name) => name in machine)
      .map((name) => `${name} ${String(machine[name])}`)
      .join("; "),
    "",
    "## Goals",
    "",
    "| what | goal | measured | lowest to highest round | met |",
    "|---|---|---|---|---|",
    ...goals.map((row) => line([row.name, row.goal ?? "", valueText(row), spreadText(row), verdictText(row)])),
    "",
    "## Figures without a goal",
    "",
    "| what | measured | lowest to highest round |",
    "|---|---|---|",
    ...others.map((row) => line([row.name, valueText(row), spreadText(row)])),
  ]);
}

function withMarked(page: string, lines: readonly string[]): string {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`the page needs the marks ${BEGIN} and ${END}`);
  const text = ["", "<!-- prettier-ignore-start -->", "", ...lines, "", "<!-- prettier-ignore-end -->", ""].join("\n");
  return [before, BEGIN, text, END, after].join("");
}

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

const WIDTH = 900;
const NAME_WIDTH = 520;
const LINE = 20;
const TOP = 46;
const BAR = 12;
/** The ends of the logarithmic scale. Bars beyond them are cut. */
const LEAST = 0.01;
const MOST = 100;

const MET = "#3a7d44";
const MISSED = "#b5483a";

/** Returns an SVG with a bar for each judged goal: the measured value relative to the goal, which is met left of the line. */
export function goalPlot(rows: readonly Row[]): string {
  const judged = rows.filter((row): row is Row & { readonly share: number } => row.share !== null);
  const height = TOP + judged.length * LINE + 10;
  const goal = across(1);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...[0.01, 0.1, 1, 10, 100].map((share) =>
      text(across(share), 18, "middle", share === 1 ? "the goal" : `${String(share)} of it`),
    ),
    ...judged.flatMap((row, index) => bar(row, TOP + index * LINE)),
    `<line x1="${goal}" y1="26" x2="${goal}" y2="${height - 6}" stroke="#222"/>`,
    "</svg>",
    "",
  ].join("\n");
}

function bar({ name, share, met }: Row & { readonly share: number }, y: number): string[] {
  const start = across(LEAST);
  const width = Math.max(1, across(share) - start);
  return [
    text(NAME_WIDTH - 8, y + BAR - 2, "end", name),
    `<rect x="${start}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" fill="${met ? MET : MISSED}"/>`,
  ];
}

/** Returns the horizontal position of a share on the scale. */
function across(share: number): number {
  const within = Math.min(MOST, Math.max(LEAST, share));
  const part = Math.log(within / LEAST) / Math.log(MOST / LEAST);
  return NAME_WIDTH + part * (WIDTH - NAME_WIDTH - 30);
}

const text = (x: number, y: number, anchor: "end" | "middle", content: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222">${escaped(content)}</text>`;

const escaped = (content: string): string => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
