import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReadSet, createEngineStore } from "@bolthole/core";
import { inputState } from "@bolthole/core/testing";
import { LmdbEngine } from "../lmdb-engine.js";
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

test("a backup with an unreadable store manifest is restored, and the manifest counted again", async () => {
  mkdirSync(join(folder, "data"));
  const engine = await LmdbEngine.open(join(folder, "data"));
  await createEngineStore(engine).persistInputState({ runtimeId: "rt", state: inputState(1) });
  const reads = new ReadSet();
  const handle = reads.add({ table: "storeManifest" });
  await engine.commit({
    reads,
    bytes: 0,
    decide: (rows) => {
      const row = rows.get(handle);
      const damaged = row && { ...row, checksum: (row.checksum ^ 1) >>> 0 };
      return { writes: [{ handle, row: damaged }], result: undefined, freesSpace: false };
    },
  });
  const backup = join(folder, "backup");
  for await (const chunk of await engine.backUp()) appendFileSync(backup, chunk);
  await engine.close();

  const { findings } = await restoreBackup(backup, join(folder, "restored"), { keepsOauth: false });
  expect(findings).toMatchObject([{ code: "row-damaged", record: "store manifest" }]);
  const restored = await LmdbEngine.open(join(folder, "restored"));
  const store = createEngineStore(restored);
  expect(await store.loadInputState({ runtimeId: "rt", inputId: inputState(1).inputId })).toBeDefined();
  await store.persistInputState({ runtimeId: "rt", state: inputState(2) });
  expect(
    await restored.check({
      onFinding: (finding) => {
        expect(finding).toBeUndefined();
      },
    }),
  ).toMatchObject({
    counts: { runtimes: 1, rows: 2 },
  });
  await restored.close();
});
