import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DOCS, goalPlot, withEvidence, withGoals } from "./performance-page.js";
import { atLeast, atMost, rowOf, skippedRow } from "./report.js";

const PAGE = readFileSync(join(DOCS, "performance.md"), "utf8");
const EVIDENCE = readFileSync(join(DOCS, "evidence", "performance.md"), "utf8");
const PLOT = readFileSync(join(DOCS, "performance.svg"), "utf8");
const ROWS = [
  rowOf({ name: "slow <one>", values: [4, 6, 5], unit: "times", goal: atMost(2) }),
  rowOf({ name: "fast one", values: [3], unit: "times", goal: atLeast(1.5) }),
  rowOf({ name: "shown one", values: [7], unit: "ms" }),
  skippedRow("absent one", "times", atLeast(2), "etcd is absent"),
];
const REPORT = { machine: { cores: 2, folder: "/somewhere" }, rows: ROWS };

/** The cells of all table rows that have a goal. */
const goalRows = (page: string): string[][] =>
  page
    .split("\n")
    .filter((line) => /^\| .* \| [<>]= [\d.]+ \| /.test(line))
    .map((line) => line.slice(2, -2).split(" | "));

test("the page shows which goals are met, and by what factor the others are missed", () => {
  const page = withGoals(PAGE, REPORT);
  expect(page).toContain("1 of 2 goals are met.");
  expect(page).toContain("| slow <one> | <= 2 | 5.00 times | no, by a factor of 2.50 |");
  expect(page).toContain("| fast one | >= 1.5 | 3.00 times | yes |");
  expect(page).toContain("| absent one | >= 2 | skipped: etcd is absent | - |");
  expect(page).not.toContain("shown one");
});

test("the evidence has every row with its rounds, and no folder of the machine", () => {
  const page = withEvidence(EVIDENCE, REPORT);
  expect(page).toContain("| slow <one> | <= 2 | 5.00 times | 4.00 to 6.00 | no, by a factor of 2.50 |");
  expect(page).toContain("| fast one | >= 1.5 | 3.00 times |  | yes |");
  expect(page).toContain("| shown one | 7.00 ms |  |");
  expect(page).toContain("| absent one | >= 2 | skipped: etcd is absent |  | - |");
  expect(page).not.toContain("/somewhere");
});

test("writing again replaces what was written before, and nothing else", () => {
  for (const [page, write] of [
    [PAGE, withGoals],
    [EVIDENCE, withEvidence],
  ] as const) {
    const written = write(page, REPORT);
    expect(write(written, REPORT)).toBe(written);
    expect(written.split("<!-- begin")[0]).toBe(page.split("<!-- begin")[0]);
    expect(written.split("<!-- end -->")[1]).toBe(page.split("<!-- end -->")[1]);
    expect(() => write("no marks", REPORT)).toThrow("needs the marks");
  }
});

test("the page, the evidence and the plot have the same goals", () => {
  const goals = goalRows(EVIDENCE).map(([name, goal, measured, , met]) => [name, goal, measured, met]);
  expect(goals.length).toBeGreaterThan(30);
  expect(goalRows(PAGE)).toEqual(goals);
  const judged = goals.filter(([, , , met]) => met !== "-");
  const met = judged.filter(([, , , verdict]) => verdict === "yes");
  expect(PAGE).toContain(`\n${met.length} of ${judged.length} goals are met.\n`);
  for (const [name = ""] of judged)
    expect(PLOT).toContain(`>${name.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}<`);
});

test("the plot has a bar for every judged goal", () => {
  const plot = goalPlot(ROWS);
  expect(plot).toContain("slow &lt;one>");
  expect(plot.match(/height="12"/g)).toHaveLength(2);
  expect(plot).not.toContain("absent one");
});
