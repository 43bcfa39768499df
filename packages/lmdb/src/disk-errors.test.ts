import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-disk-errors-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the first file operations of LMDB in a process that may write files of this many blocks of 512 bytes. Returns its output. */
function preflightWithin(blocks: number): string {
  const script = `
    const { openFailure, preflight } = require(${JSON.stringify(join(__dirname, "disk-errors.js"))});
    try {
      preflight(process.argv[1]);
      console.log("prepared");
    } catch (error) {
      console.log(openFailure(process.argv[1], error).message);
    }`;
  const limited = `ulimit -f ${String(blocks)}; exec "$@"`;
  return spawnSync("sh", ["-c", limited, "sh", process.execPath, "-e", script, folder], { encoding: "utf8" }).stdout;
}

test("a file that the process may not make large enough is an error, and not a file that is too short", () => {
  // LMDB writes to its lock file through mapped memory: behind the end of the file, that ends the process.
  for (const blocks of [1, 80, 130]) {
    expect([blocks, preflightWithin(blocks)]).toEqual([
      blocks,
      expect.stringMatching(/^\S+ cannot be written: .*EFBIG.*raise the limit \(ulimit -f\)\n$/),
    ]);
  }
  expect(preflightWithin(1000)).toBe("prepared\n");
});
