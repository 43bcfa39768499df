import type { Row } from "./report.js";

const WIDTH = 900;
const NAME_WIDTH = 520;
const LINE = 20;
const TOP = 46;
const BAR = 12;
/** Of what a goal allows; the scale is logarithmic, and bars end at its ends. */
const LEAST = 0.01;
const MOST = 100;

const MET = "#3a7d44";
const MISSED = "#b5483a";

/** A bar for each goal, as an SVG: how much of what the goal allows is used. Left of the line in the middle it is met. */
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

/** Where on the scale a share lies. */
function across(share: number): number {
  const within = Math.min(MOST, Math.max(LEAST, share));
  const part = Math.log(within / LEAST) / Math.log(MOST / LEAST);
  return NAME_WIDTH + part * (WIDTH - NAME_WIDTH - 30);
}

const text = (x: number, y: number, anchor: "end" | "middle", content: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222">${escaped(content)}</text>`;

const escaped = (content: string): string => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
