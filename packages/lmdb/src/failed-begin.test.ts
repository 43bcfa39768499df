import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const SCRIPT = join(__dirname, "testing", "failed-begin.js");
// The files of a process are found in /proc.
const onLinux = process.platform === "linux" ? test : test.skip;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-begin-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

onLinux("a write rejects when LMDB cannot begin its transaction, and closing does not wait for it", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, folder]);
  const [second, ...rest] = stdout.trimEnd().split("\n");
  expect(second).toMatch(/^second: .*Bad file descriptor/);
  // After a failed meta page, LMDB begins no transaction.
  expect(rest).toEqual(["third: Error: LMDB cannot begin a write transaction", "closed"]);
});
