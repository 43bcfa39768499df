import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDamageFinding } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { Environment } from "../environment.js";
import { UnusableFolderError } from "../format.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { checkFolder } from "./check.js";
import { restoreBackup } from "./restore.js";

/** Space for a store, its copy, and what a backup leaves free. */
const DISK_BYTES = 128 << 20;

/** Mounting a small disk needs root. Without it, these tests say so and skip. */
const canMount = process.platform === "linux" && process.getuid?.() === 0;
if (!canMount) console.info("the tests of a full disk are skipped: they mount a disk, which needs root on Linux");

(canMount ? describe : describe.skip)("a disk that is full", () => {
  let folder: string;
  let disk: string;
  let data: string;
  let engine: LmdbEngine | undefined;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "bolthole-full-"));
    disk = join(folder, "disk");
    data = join(disk, "data");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", disk]);
    mkdirSync(data);
    engine = await LmdbEngine.open(data);
    const sessionDelta = { sessionSnapshot: Buffer.alloc(300_000, "document"), profile: "opaque" } as const;
    await createEngineStore(engine).commitSessionSnapshot({ runtimeId: "one", sessionDelta });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await engine?.close();
    engine = undefined;
    execFileSync("umount", [disk]);
    rmSync(folder, { recursive: true });
  });

  /** Writes a file until the disk is full. */
  function fillDisk(): void {
    const file = openSync(join(disk, "filler"), "w");
    for (let bytes = 1 << 20; bytes >= 512; bytes /= 2) {
      try {
        for (let count = 0; count < DISK_BYTES / bytes; count += 1) writeSync(file, Buffer.alloc(bytes));
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
    }
    closeSync(file);
  }

  const closeStore = async (): Promise<void> => {
    await engine?.close();
    engine = undefined;
  };

  test("during the check of a backup fails the backup as DISK_FULL, and says nothing of damage", async () => {
    const copyTo = Environment.prototype.copyTo;
    jest.spyOn(Environment.prototype, "copyTo").mockImplementation(async function (this: Environment, target, pages) {
      await copyTo.call(this, target, pages);
      fillDisk();
    });
    await expect(engine?.backUp()).rejects.toMatchObject({ reason: "DISK_FULL", applied: "no", retry: "same_request" });
    rmSync(join(disk, "filler"));
    jest.restoreAllMocks();
    const copy = join(folder, "backup");
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await engine?.backUp()) ?? []) chunks.push(chunk);
    writeFileSync(copy, Buffer.concat(chunks));
    expect(readFileSync(copy, "latin1").split("\n")[1]).toContain('"findings":0');
  });

  test.each(["whole", "compact"] as const)(
    "after the %s copy of a compaction fails it as DISK_FULL, and the store goes on",
    async (full) => {
      const copyTo = Environment.prototype.copyTo;
      jest.spyOn(Environment.prototype, "copyTo").mockImplementation(async function (this: Environment, target, pages) {
        await copyTo.call(this, target, pages);
        if (pages === full) fillDisk();
      });
      const refused = { reason: "DISK_FULL", variant: "WriteFailed", applied: "no" };
      await expect(engine?.compact({})).rejects.toMatchObject(refused);
      rmSync(join(disk, "filler"));
      jest.restoreAllMocks();
      expect(readdirSync(data).filter((name) => name.startsWith("backup."))).toEqual([]);
      await expect(engine?.compact({})).resolves.toMatchObject({ damaged: 0 });
    },
  );

  test("is not damage for verify", async () => {
    await closeStore();
    rmSync(join(data, "lock.mdb"));
    fillDisk();
    const findings: string[] = [];
    const check = checkFolder(data, {
      onFinding: (finding) => {
        if (isDamageFinding(finding)) findings.push(finding.text);
      },
    });
    await expect(check).rejects.toThrow(UnusableFolderError);
    expect(findings).toEqual([]);
  });

  test("during a restore leaves no folder", async () => {
    const copy = join(folder, "backup");
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await engine?.backUp()) ?? []) chunks.push(chunk);
    writeFileSync(copy, Buffer.concat(chunks));
    fillDisk();
    const target = join(disk, "restored");
    await expect(restoreBackup(copy, target, { keepsOauth: false })).rejects.toThrow(/full/);
    expect(existsSync(target)).toBe(false);
  });
});
