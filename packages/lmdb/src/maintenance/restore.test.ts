import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { restoreBackup } from "./restore.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-restore-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("a restore does not create the parent of its folder", async () => {
  // Node's recursive mkdir never returns for a path such as /proc/x, so the caller creates the parent in another way.
  const parent = join(folder, "missing");
  await expect(restoreBackup(__filename, join(parent, "data"), { keepsOauth: false })).rejects.toThrow("ENOENT");
  expect(existsSync(parent)).toBe(false);
});

test("a restore of a file that is not a backup leaves nothing behind", async () => {
  await expect(restoreBackup(__filename, join(folder, "data"), { keepsOauth: false })).rejects.toMatchObject({
    name: "UnusableBackupError",
  });
  expect(readdirSync(folder)).toEqual([]);
});

test("an error of the backup file is not reported as a failure of the disk", async () => {
  await expect(restoreBackup(folder, join(folder, "data"), { keepsOauth: false })).rejects.toMatchObject({
    code: "EISDIR",
    name: "Error",
  });
  expect(readdirSync(folder)).toEqual([]);
});
