import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReadSet, createEngineStore } from "@bolthole/core";
import { inputState } from "@bolthole/core/testing";
import { refuseOtherContents } from "../format.js";
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
    name: "UnreadableBackupError",
    message: expect.stringContaining("EISDIR") as string,
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

test("files are added to a restored folder before it gets its name, when no daemon can serve it yet", async () => {
  mkdirSync(join(folder, "data"));
  const engine = await LmdbEngine.open(join(folder, "data"));
  const backup = join(folder, "backup");
  for await (const chunk of await engine.backUp()) appendFileSync(backup, chunk);
  await engine.close();
  const target = join(folder, "restored");
  const complete = jest.fn((draft: string) => {
    expect(() => {
      refuseOtherContents(target);
    }).toThrow("a restore into it is running");
    writeFileSync(join(draft, "added"), "");
  });
  const { storeId, findings } = await restoreBackup(backup, target, { keepsOauth: false, complete });
  expect(complete.mock.calls).toEqual([[expect.stringContaining(join("restored", "restoring-")), storeId, findings]]);
  expect(readdirSync(target).sort()).toEqual(["added", "data.mdb", "format"]);
});

describe("the folder of a restore", () => {
  let backup: string;
  beforeEach(async () => {
    mkdirSync(join(folder, "data"));
    const engine = await LmdbEngine.open(join(folder, "data"));
    backup = join(folder, "backup");
    for await (const chunk of await engine.backUp()) appendFileSync(backup, chunk);
    await engine.close();
  });

  const restore = (target: string): ReturnType<typeof restoreBackup> =>
    restoreBackup(backup, target, { keepsOauth: false });

  test("keeps its place when it is empty, because it may be a mount point or the working directory of a shell", async () => {
    const target = join(folder, "target");
    mkdirSync(target, { mode: 0o755 });
    writeFileSync(join(target, ".gitkeep"), "");
    const before = statSync(target).ino;
    const { storeId } = await restore(target);
    const after = statSync(target);
    expect([after.ino, after.mode & 0o777]).toEqual([before, 0o700]);
    expect(readdirSync(target).sort()).toEqual([".gitkeep", "data.mdb", "format"]);
    const engine = await LmdbEngine.open(target);
    expect(engine.storeId).toBe(storeId);
    await engine.close();
  });

  test("is reached by a link, which stays a link", async () => {
    mkdirSync(join(folder, "real"));
    symlinkSync("real", join(folder, "link"));
    await restore(join(folder, "link"));
    expect(lstatSync(join(folder, "link")).isSymbolicLink()).toBe(true);
    expect(readdirSync(join(folder, "real")).sort()).toEqual(["data.mdb", "format"]);
    symlinkSync("nowhere", join(folder, "dangling"));
    await expect(restore(join(folder, "dangling"))).rejects.toThrow("is a link that leads to no folder");
  });

  test("is empty again when it was, after a restore that failed, and no store in between", async () => {
    const target = join(folder, "target");
    mkdirSync(target);
    const complete = (draft: string): void => {
      // An entry that cannot take its place, so that the restore fails in the middle of the moves.
      writeFileSync(join(draft, "zzz"), "");
      mkdirSync(join(target, "zzz"));
      expect(existsSync(join(target, "format"))).toBe(false);
    };
    await expect(restoreBackup(backup, target, { keepsOauth: false, complete })).rejects.toThrow("by another process");
    expect(readdirSync(target)).toEqual(["zzz"]);
  });

  test("loses what a killed restore left, and keeps what a running one makes", async () => {
    // No process has an id above the largest one. What has the id of this process was left by an earlier one with the same id.
    const [dead, running] = ["99999999-abcdef", `${String(process.ppid)}-abcdef`];
    // A process that has the id of an earlier one has another start, where the system tells it.
    const earlier = existsSync("/proc/self/stat") ? [`${String(process.ppid)}.1-abcdef`] : [];
    const target = join(folder, "target");
    for (const left of [dead, ...earlier]) {
      mkdirSync(join(target, `restoring-${left}`), { recursive: true });
      writeFileSync(join(target, `restoring-${left}`, "data.mdb"), "a part");
    }
    await restore(target);
    expect(readdirSync(target).sort()).toEqual(["data.mdb", "format"]);

    const busy = join(folder, "busy");
    mkdirSync(join(busy, `restoring-${running}`), { recursive: true });
    await expect(restore(busy)).rejects.toThrow(`it has restoring-${running}`);
  });

  test("is removed again by a restore that failed when that had made it", async () => {
    const complete = (): void => {
      throw new Error("not complete");
    };
    const target = join(folder, "target");
    await expect(restoreBackup(backup, target, { keepsOauth: false, complete })).rejects.toThrow("not complete");
    expect(existsSync(target)).toBe(false);
  });

  /** Restores in a process of its own, which kills itself before or after one of its renames. Returns whether it was killed. */
  const restoreAndKill = (target: string, rename: number, when: "before" | "after"): boolean => {
    const script = `
      const fs = require("node:fs");
      const { renameSync } = fs;
      let count = 0;
      const kill = () => process.kill(process.pid, "SIGKILL");
      fs.renameSync = (from, to) => {
        const isLast = (count += 1) === ${String(rename)};
        if (isLast && ${String(when === "before")}) kill();
        renameSync(from, to);
        if (isLast) kill();
      };
      const { restoreBackup } = require(${JSON.stringify(join(__dirname, "restore.js"))});
      restoreBackup(process.argv[1], process.argv[2], {
        keepsOauth: false,
        complete: (draft) => fs.writeFileSync(require("node:path").join(draft, "added"), ""),
      });`;
    return spawnSync(process.execPath, ["-e", script, backup, target]).signal === "SIGKILL";
  };

  test.each(["an empty", "a missing"])(
    "%s one is a store after a repeat when a restore was killed at any of its renames",
    async (kind) => {
      const outcomes: string[] = [];
      for (const when of ["before", "after"] as const) {
        for (let rename = 1; ; rename += 1) {
          const target = join(folder, `${when}-${String(rename)}`);
          if (kind === "an empty") mkdirSync(target);
          if (!restoreAndKill(target, rename, when)) break;
          if (existsSync(join(target, "format"))) outcomes.push("complete");
          else {
            expect(() => {
              refuseOtherContents(target);
            }).toThrow(/has no complete store: .*repeat the same restore/);
            await restore(target);
            expect(readdirSync(target).sort()).toEqual(["data.mdb", "format"]);
            outcomes.push("repeated");
          }
          const engine = await LmdbEngine.open(target);
          await engine.close();
        }
      }
      // The renames of the files format and data.mdb (in the draft, which is compacted), added, data.mdb and format.
      expect(outcomes).toEqual([...Array<string>(9).fill("repeated"), "complete"]);
    },
  );

  test("keeps a file of another origin, also when a killed restore would have made one of its name", async () => {
    const target = join(folder, "target");
    mkdirSync(target);
    expect(restoreAndKill(target, 2, "before")).toBe(true);
    writeFileSync(join(target, "data.mdb"), "of another origin");
    await expect(restore(target)).rejects.toThrow("is not empty, it has data.mdb;");
    expect(readFileSync(join(target, "data.mdb"), "utf8")).toBe("of another origin");
  });

  test("is proposed beside a store, and not in it", async () => {
    await expect(restore(join(folder, "data"))).rejects.toThrow(`such as ${join(folder, "data")}-restored,`);
    mkdirSync(join(folder, "disk"));
    writeFileSync(join(folder, "disk", "photo.jpg"), "");
    await expect(restore(join(folder, "disk"))).rejects.toThrow(`such as ${join(folder, "disk", "restored")},`);
  });
});
