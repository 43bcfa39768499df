import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SCRIPT = join(__dirname, "..", "..", "..", "..", "scripts", "replay.mjs");

/** A trace over two runtimes and OAuth state. A correct store returns `{ text: "one" }` in the last step. */
const trace = (name: string, result: unknown): string =>
  JSON.stringify({
    name,
    steps: [
      { op: "persist_auth_oauth_flow_snapshot", args: { snapshot: "one" }, sqlite: { ok: null } },
      { op: "load_session_snapshot", runtime_id: "", args: {}, sqlite: { ok: null } },
      { op: "load_auth_oauth_flow_snapshot", args: {}, reopen: true, sqlite: { ok: result } },
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

function replay(
  lines: readonly string[],
  ...flags: string[]
): Promise<{ code: number; lines: string[]; errors: string }> {
  const file = join(folder, "traces.jsonl");
  writeFileSync(file, lines.map((line) => `${line}\n`).join(""));
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, ...flags, file], (error, stdout, errors) => {
      const code = typeof error?.code === "number" ? error.code : 0;
      resolve({ code, lines: stdout.trimEnd().split("\n"), errors });
    });
  });
}

describe("pnpm replay", () => {
  test.each([[[]], [["--kill", "--restart-midway"]], [["--engine", "memory"]]])(
    "with %j counts the traces that pass, also over a restart, and those that are skipped",
    async (flags) => {
      const { code, lines } = await replay(
        [trace("one", { text: "one" }), RAW, trace("two", { text: "one" })],
        ...flags,
      );
      expect(code).toBe(0);
      expect(lines).toContain("  1 skipped: writes external rows (put_raw_row)");
      expect(lines.at(-1)).toBe("2 passed, 0 failed, 1 skipped");
    },
  );

  test("prints every result that differs, and fails", async () => {
    const { code, lines } = await replay([trace("good", { text: "one" }), trace("bad", { text: "two" })]);
    expect(code).toBe(1);
    expect(lines).toEqual(
      expect.arrayContaining([
        "bad, step 2, load_auth_oauth_flow_snapshot",
        '  expected {"ok":{"text":"two"}}',
        '  found    {"ok":{"text":"one"}}',
      ]),
    );
    expect(lines.at(-1)).toBe("1 passed, 1 failed, 0 skipped");
  });

  test("refuses to restart a daemon that it has not started", async () => {
    const { code, errors } = await replay([RAW], "--target", "unix:none", "--kill");
    expect(code).toBe(2);
    expect(errors).toContain("expected --target without --kill and --restart-midway");
  });
});
