import { readFileSync } from "node:fs";
import {
  EVIDENCE_FILE,
  controlLine,
  readControls,
  readRuns,
  runLine,
  runRow,
  sectionsOf,
  withControl,
  withRun,
} from "./evidence.js";
import { CONTROLS, KINDS } from "./kinds/index.js";

const PAGE = readFileSync(EVIDENCE_FILE, "utf8");

test("the page has a section for every kind, and the controls", () => {
  expect(sectionsOf(PAGE).sort()).toEqual([...Object.keys(KINDS), "controls"].sort());
});

test("every recorded run is in the form that the command writes", () => {
  const rows = Object.keys(KINDS).flatMap((kind) => readRuns(PAGE, kind));
  expect(rows.length).toBeGreaterThan(30);
  for (const row of rows) {
    expect(PAGE).toContain(`\n${runLine(row)}\n`);
    expect(row.command).toMatch(/^pnpm torture [a-z-]+( --(cycles|minutes|seed) \d+)+$/);
    expect(row.command).toContain(` --seed ${row.seed}`);
  }
});

test("every control has a recorded result for each kind that must catch it", () => {
  const rows = readControls(PAGE);
  for (const row of rows) expect(PAGE).toContain(`\n${controlLine(row)}\n`);
  const expected = Object.entries(CONTROLS).flatMap(([control, { kinds }]) =>
    kinds.map((kind) => `${kind} ${control}`),
  );
  expect(rows.map(({ kind, control }) => `${kind} ${control}`).sort()).toEqual(expected.sort());
  for (const { cycle, promises } of rows) {
    expect(cycle).toBeGreaterThan(0);
    expect(promises).not.toBe("");
  }
});

test("a recorded run becomes the last row of its kind, and nothing else changes", () => {
  const report = {
    kind: "kill",
    seed: 7,
    cycles: 1200,
    seconds: 9,
    violations: [],
    acknowledged: 34_567,
    unanswered: { count: 10, applied: 4, sealed: 3, appliedByRepeat: 2, notApplied: 1 },
    endings: { SIGKILL: 1200 },
    events: {},
    lines: [],
  };
  const row = runRow(report, "pnpm torture kill --cycles 1200 --seed 7", "2026-12-01");
  expect(row).toMatchObject({ acknowledged: 34_567, unanswered: 10, events: "daemon ended by SIGKILL: 1,200" });
  const page = withRun(PAGE, "kill", row);
  expect(readRuns(page, "kill")).toEqual([...readRuns(PAGE, "kill"), row]);
  expect(page.replace(`${runLine(row)}\n`, "")).toBe(PAGE);
});

test("a kind without a ledger leaves those cells empty", () => {
  const report = {
    kind: "linear",
    seed: 1,
    cycles: 2,
    seconds: 3,
    violations: [],
    events: { operations: 5 },
    lines: [],
  };
  const row = runRow(report, "pnpm torture linear --seed 1", "2026-12-01");
  expect(runLine(row)).toBe(
    "| 2026-12-01 | `pnpm torture linear --seed 1` | 1 | 2 | - | - | - | - | - | - | operations: 5 | 0 |",
  );
});

test("the result of a control replaces the last one", () => {
  const row = { kind: "kill", control: "dropped-row", date: "2026-12-01", cycle: undefined, promises: "" };
  const page = withControl(PAGE, row);
  expect(readControls(page).filter(({ control }) => control === "dropped-row")).toEqual([row]);
  expect(readControls(page)).toHaveLength(readControls(PAGE).length);
});

test("a page without the table is refused", () => {
  expect(() => readRuns("# Nothing\n", "kill")).toThrow('needs a section "## kill"');
});
