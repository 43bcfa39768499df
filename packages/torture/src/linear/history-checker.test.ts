import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnsupportedMachineError } from "../run.js";
import { type HistoryLine, LinearChecker } from "./history-checker.js";

const SOURCE = join(__dirname, "..", "..", "linear-checker");
const isGoHere = spawnSync("go", ["version"]).status === 0;

// A first build fetches the module and compiles it.
jest.setTimeout(300_000);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-linear-"));
  if (!isGoHere) console.warn("the command go was not found: the linearizability checker is not tested");
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Returns undefined when this machine cannot build the checker, for example without access to the Go module. */
async function build(): Promise<LinearChecker | undefined> {
  try {
    return await LinearChecker.build(folder);
  } catch (error) {
    if (!(error instanceof UnsupportedMachineError)) throw error;
    console.warn(error.message);
    return undefined;
  }
}

const written = { partition: "r", client: 1, call: 1, return: 2, kind: "write", sets: { ops: "a" } } as const;
const history: HistoryLine[] = [
  { ...written, result: "ok", version: "e.1" },
  { ...written, call: 3, return: 4, sets: { ops: "b" }, result: "ok", version: "e.2" },
];
const read = (digest: string, version: string): HistoryLine => ({
  partition: "r",
  client: 2,
  call: 5,
  return: 6,
  kind: "read",
  record: "ops",
  seen: { digest, version },
});

test("a fresh read is linearizable; a stale read is not, and is drawn", async () => {
  const checker = await build();
  if (!checker) return;
  expect(await checker.check([...history, read("b", "e.2")], 60, folder)).toEqual({
    partitions: 1,
    operations: 3,
    open: 0,
    illegal: [],
    undecided: [],
  });
  const verdict = await checker.check([...history, read("a", "e.1")], 60, folder);
  expect(verdict.illegal).toHaveLength(1);
  expect(readdirSync(folder).some((name) => name.startsWith("illegal-"))).toBe(true);
});

test("the checker's own tests pass", async () => {
  if (!(await build())) return;
  execFileSync("go", ["test", "./..."], { cwd: SOURCE, stdio: "pipe" });
});
