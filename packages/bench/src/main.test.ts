import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isInMemory } from "./machine.js";
import type { Report } from "./report.js";

/** The longest time of a run that does everything once on a busy machine. */
const WHOLE_RUN_MS = 180_000;

const bench = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(process.execPath, [join(__dirname, "main.js"), ...args]);

/** All goals, in the order of the report. */
const GOALS = [
  ["small commits, 64 callers: rate, against the bare commit", ">= 0.9"],
  ["small commits, 1 caller: p50, against the bare commit", "<= 1.2"],
  ["small commits, 64 callers: rate, against etcd", ">= 1.2"],
  ["small commits, 1 caller: rate, against etcd", ">= 2"],
  ["our client, 64 callers: rate of commits, against the bare commit", ">= 0.8"],
  ["our client, 1 caller: p50 of a commit, against the bare commit", "<= 1.3"],
  ["turn, 10 MB session against 10 KB session: daemon p50", "<= 2"],
  ["turn, 10 MB session against 10 KB session: daemon CPU", "<= 2"],
  ["turn, 10 MB session against 10 KB session: caller's p50", "<= 3"],
  ["turn, 10 KB session with 1,000 inputs against 10 KB session: daemon p50", "<= 2"],
  ["turn, 10 KB session with 1,000 inputs against 10 KB session: daemon CPU", "<= 2"],
  ["turn, 10 KB session with 1,000 inputs against 10 KB session: caller's p50", "<= 2"],
  ["turn: bytes on the wire per additional input", "<= 48"],
  ["turn, 10 MB session: the reference's time, against daemon p50", ">= 50"],
  ["turn, 10 KB session: caller's p50 against the reference's", "<= 1"],
  ["turn, 10 MB session: bytes on the wire", "<= 16"],
  ["turn, 10 MB session: value bytes put into LMDB", "<= 48"],
  ["turn, 10 MB session with three rewrites against 10 KB session: daemon p50", "<= 4"],
  ["turn, 10 MB session with three rewrites against 10 KB session: daemon CPU", "<= 4"],
  ["turn, 10 MB session with three rewrites against 10 KB session: caller's p50", "<= 4"],
  ["turn, 10 MB session with three rewrites against 10 KB session: bytes on the wire", "<= 4"],
  ["turn, 10 MB session with three rewrites against 10 KB session: value bytes put", "<= 4"],
  ["30 turns and 3 rewrites: size on disk against its distinct messages", "<= 3"],
  ["small requests during new documents: p99, against p99 without them", "<= 5"],
  ["new documents: longest delay of the event loop", "<= 30"],
  ["anonymous memory of the daemon, idle", "<= 120"],
  ["anonymous memory during new documents: above idle, in documents per client", "<= 2"],
  ["boundary with 300 input rows: longest delay of the event loop", "<= 30"],
  ["lifecycle commit with 300 input rows: longest delay of the event loop", "<= 30"],
  ["import of 600 rows: longest delay of the event loop", "<= 30"],
  ["import of 600 rows over existing ones: longest delay of the event loop", "<= 30"],
  ["deletion of 600 rows: longest delay of the event loop", "<= 30"],
  ["first load of a 10 MB session, against a bare stream of its bytes", "<= 1.3"],
  ["10 KB: read and digest, against JSON.parse", ">= 0.5"],
  ["6 replacements of a whole document: data file against live bytes", "<= 5"],
  ["1,000,000 runtimes: p50 of a commit, against an empty store", "<= 1.3"],
  ["1,000,000 runtimes: p50 of a load, against an empty store", "<= 1.3"],
  ["1,000,000 runtimes: start to SERVING", "<= 2"],
];

describe("the benchmark", () => {
  // When the folder for temporary files is in memory, the working folder is used, which is on a disk.
  const folder = mkdtempSync(join(isInMemory(tmpdir()) ? process.cwd() : tmpdir(), "bench-test-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test(
    "a short run checks responses, judges no times, and prints one JSON object",
    async () => {
      const out = join(folder, "report.json");
      const { stdout, stderr } = await bench("--short", "--long", "--json", "--folder", folder, "--out", out);
      expect(stderr).toBe("");
      expect(readFileSync(out, "utf8")).toBe(stdout);
      expect(readdirSync(folder)).toEqual(["report.json"]);

      const report = JSON.parse(stdout) as Report;
      expect(Object.keys(report)).toEqual(["machine", "rows"]);
      expect(report.machine).toMatchObject({ node: process.version, fileSystem: expect.any(String) as string });
      expect(new Set(report.rows.map(({ name }) => name)).size).toBe(report.rows.length);
      for (const row of report.rows) {
        expect(Object.keys(row)).toEqual(["name", "value", "spread", "unit", "goal", "met", "share", "note"]);
        if (row.value === null) expect(row.note).toMatch(/^skipped: (ghz|etcd) is absent/);
        else expect(row.value).not.toBeNaN();
        expect(row.unit).not.toBe("");
        expect(row.met).toBeNull();
      }
      const goals = report.rows.filter(({ goal }) => goal !== null).map(({ name, goal }) => [name, goal]);
      expect(goals).toEqual(GOALS);
    },
    WHOLE_RUN_MS,
  );

  test("--only measures the given row groups only", async () => {
    const { stdout } = await bench("--short", "--json", "--folder", folder, "--only", "session-documents");
    const { rows } = JSON.parse(stdout) as Report;
    expect(rows.length).toBeGreaterThan(0);
    for (const { name } of rows) expect(name).toMatch(/^10 KB: /);
  });

  test("invalid options are refused", async () => {
    await expect(bench("--seconds", "0")).rejects.toMatchObject({ code: 1, stdout: "" });
    await expect(bench("--only", "nothing")).rejects.toMatchObject({ code: 1, stdout: "" });
    await expect(bench("--short", "--write-docs", "--folder", folder)).rejects.toMatchObject({ code: 1, stdout: "" });
  });
});
