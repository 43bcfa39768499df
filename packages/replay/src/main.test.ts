import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(__dirname, "main.js");

/** Two runtimes and OAuth state, with one answer that is as it should be only when `answer` is. */
const trace = (name: string, answer: unknown): string =>
  JSON.stringify({
    name,
    steps: [
      { op: "persist_auth_oauth_flow_snapshot", args: { snapshot: "one" }, sqlite: { ok: null } },
      { op: "load_session_snapshot", runtime_id: "", args: {}, sqlite: { ok: null } },
      { op: "load_auth_oauth_flow_snapshot", args: {}, reopen: true, sqlite: { ok: answer } },
    ],
  });

const RAW = JSON.stringify({ name: "raw", steps: [{ op: "put_raw_row", args: {}, sqlite: { ok: null } }] });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-replay-test-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function replay(lines: readonly string[], ...flags: string[]): Promise<{ code: number; lines: string[] }> {
  const file = join(folder, "traces.jsonl");
  writeFileSync(file, lines.map((line) => `${line}\n`).join(""));
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...flags, file], (error, stdout) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, lines: stdout.trimEnd().split("\n") });
    });
  });
}

describe("replay", () => {
  test.each([[[]], [["--kill", "--restart-midway"]], [["--in-process"]]])(
    "with %j counts what is answered as recorded, over a restart, and what is skipped",
    async (flags) => {
      const { code, lines } = await replay(
        [trace("one", { text: "one" }), RAW, trace("two", { text: "one" })],
        ...flags,
      );
      expect(code).toBe(0);
      expect(lines).toContain("  1 skipped: writes rows past the store (put_raw_row)");
      expect(lines.at(-1)).toBe("2 passed, 0 failed, 1 skipped");
    },
  );

  test("prints what differs and fails", async () => {
    const { code, lines } = await replay([trace("good", { text: "one" }), trace("bad", { text: "two" })]);
    expect(code).toBe(1);
    expect(lines).toEqual(
      expect.arrayContaining([
        "bad, step 2, load_auth_oauth_flow_snapshot",
        '  expected {"ok":{"text":"two"}}',
        '  got      {"ok":{"text":"one"}}',
      ]),
    );
    expect(lines.at(-1)).toBe("1 passed, 1 failed, 0 skipped");
  });
});
