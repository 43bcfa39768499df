import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(__dirname, "main.js");

// Each cycle starts several processes, which takes seconds on a busy machine.
jest.setTimeout(300_000);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-torture-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function torture(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args, "--folder", folder], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

test("kill: the promises hold over two kills, and no files are left", async () => {
  const { code, stdout } = await torture("kill", "--cycles", "2", "--seed", "7", "--json");
  expect(stdout).toContain('"violations":[]');
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  expect(JSON.parse(lines[2] ?? "")).toMatchObject({ kind: "kill", seed: 7, cycles: 2, endings: { SIGKILL: 2 } });
  expect(readdirSync(folder)).toEqual([]);
});

test("net: faults happen, and the daemon survives them", async () => {
  const { code, stdout } = await torture("net", "--cycles", "2", "--seed", "7", "--json");
  expect(code).toBe(0);
  const report = JSON.parse(stdout.trimEnd().split("\n")[2] ?? "") as {
    endings: object;
    events: Record<string, number>;
  };
  expect(report.endings).toEqual({ "lives on": 2 });
  expect(Object.values(report.events).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
});

test("pause: an old fence token is refused in every round", async () => {
  const { code, stdout } = await torture("pause", "--cycles", "1", "--seed", "7", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout.trimEnd().split("\n")[1] ?? "")).toMatchObject({
    events: { "daemon stopped": 1, "writer stopped": 5, "old writer refused": 5 },
  });
});

test("clock: the promises hold over one cycle of each scene", async () => {
  const { code, stdout } = await torture("clock", "--cycles", "5", "--seed", "7", "--json");
  expect(stdout).toContain('"violations":[]');
  expect(code).toBe(0);
  const { events } = JSON.parse(stdout.trimEnd().split("\n")[5] ?? "") as { events: Record<string, number> };
  expect(events).toMatchObject({ jump: 1, flood: 1, "long jump": 1, start: 1, "jump and restart": 1 });
  expect(events["copies replayed"]).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual([]);
});

test("clock: the control fixed-horizon is caught", async () => {
  const { code, stdout } = await torture("clock", "--cycles", "15", "--seed", "7", "--control", "fixed-horizon");
  expect(stdout).toContain("control fixed-horizon: caught");
  expect(code).toBe(0);
});

test.each(["forgotten-request-id", "dropped-row"])("kill: the control %s is caught", async (control) => {
  const { code, stdout } = await torture("kill", "--cycles", "10", "--seed", "7", "--control", control);
  expect(stdout).toContain(`control ${control}: caught`);
  expect(code).toBe(0);
});

const CANNOT_RUN = 3;

test.each(["io", "full"])(
  "%s: the promises hold over three cycles, or the command reports what the machine lacks",
  async (kind) => {
    const { code, stdout, stderr } = await torture(kind, "--cycles", "3", "--seed", "7", "--json");
    if (code === CANNOT_RUN) {
      expect(stderr).toContain("this kind needs");
      return;
    }
    expect(stdout).toContain('"violations":[]');
    expect(code).toBe(0);
  },
);

test("unknown kinds, numbers and controls are usage errors", async () => {
  expect((await torture("flood")).code).toBe(2);
  expect((await torture("kill", "--cycles", "none")).code).toBe(2);
  expect((await torture("kill", "--control", "none")).code).toBe(2);
});
