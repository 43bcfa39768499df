import { readFileSync } from "node:fs";
import { join } from "node:path";
import { goalPlot } from "./goal-plot.js";
import { withMeasured } from "./performance-page.js";
import { atLeast, atMost, rowOf, skippedRow } from "./report.js";

const PAGE = readFileSync(join(__dirname, "..", "..", "..", "docs", "performance.md"), "utf8");
const ROWS = [
  rowOf({ name: "slow <one>", values: [4, 6, 5], unit: "times", goal: atMost(2) }),
  rowOf({ name: "fast one", values: [3], unit: "times", goal: atLeast(1.5) }),
  rowOf({ name: "shown one", values: [7], unit: "ms" }),
  skippedRow("absent one", "times", atLeast(2), "etcd is absent"),
];
const REPORT = { machine: { cores: 2, folder: "/somewhere" }, rows: ROWS };

test("the table says what was met, and by how much the rest was missed", () => {
  const page = withMeasured(PAGE, REPORT);
  expect(page).toContain("| slow <one> | <= 2 | 5.00 times | 4.00 to 6.00 | NO, by 2.50 times |");
  expect(page).toContain("| fast one | >= 1.5 | 3.00 times |  | yes |");
  expect(page).toContain("| shown one | 7.00 ms |  |");
  expect(page).toContain("| absent one | >= 2 | skipped: etcd is absent |  | - |");
  expect(page).not.toContain("/somewhere");
});

test("what is written again takes the place of what was written before", () => {
  const page = withMeasured(PAGE, REPORT);
  expect(withMeasured(page, REPORT)).toBe(page);
  expect(() => withMeasured("no marks", REPORT)).toThrow("marks");
});

test("the plot has a bar for every goal that was judged", () => {
  const plot = goalPlot(ROWS);
  expect(plot).toContain("slow &lt;one>");
  expect(plot.match(/height="12"/g)).toHaveLength(2);
  expect(plot).not.toContain("absent one");
});
