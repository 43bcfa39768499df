import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isInMemory } from "./machine.js";
import type { Report } from "./report.js";

const bench = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(process.execPath, [join(__dirname, "main.js"), ...args]);

describe("the benchmark", () => {
  // Where the system keeps temporary files in memory, the checkout is still on a disk.
  const folder = mkdtempSync(join(isInMemory(tmpdir()) ? process.cwd() : tmpdir(), "bench-test-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test("in its short form checks the answers, judges no time, and prints one object", async () => {
    const out = join(folder, "report.json");
    const { stdout, stderr } = await bench("--short", "--json", "--folder", folder, "--out", out);
    expect(stderr).toBe("");
    expect(readFileSync(out, "utf8")).toBe(stdout);
    expect(readdirSync(folder)).toEqual(["report.json"]);

    const report = JSON.parse(stdout) as Report;
    expect(Object.keys(report)).toEqual(["machine", "rows"]);
    expect(report.machine).toMatchObject({ node: process.version, fileSystem: expect.any(String) as string });
    expect(new Set(report.rows.map(({ name }) => name)).size).toBe(report.rows.length);
    for (const row of report.rows) {
      expect(Object.keys(row)).toEqual(["name", "value", "unit", "goal", "met"]);
      expect(row.value).toBeGreaterThanOrEqual(0);
      expect(row.unit).not.toBe("");
      expect(row.met).toBeNull();
    }
    expect(report.rows.filter(({ goal }) => goal !== null)).toMatchObject([
      { name: "commits, 64 callers: rate, against the bare commit", goal: ">= 0.8" },
      { name: "commit, 1 caller: p50, against the bare commit", goal: "<= 1.3" },
      { name: "10 KB: read and digest, against JSON.parse", goal: ">= 0.5" },
    ]);
  });

  test("refuses what it cannot use", async () => {
    await expect(bench("--seconds", "0")).rejects.toMatchObject({ code: 1, stdout: "" });
  });
});
