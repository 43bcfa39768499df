import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { EXIT } from "../exit-code.js";
import { refuseSmallFiles } from "../process-limits.js";
import { Daemons, MAIN, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

const MIB = 1 << 20;
/** The unit of `ulimit -f` in sh. */
const BLOCK_BYTES = 512;

let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-small-files-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `bolthole` in a process that may write files of this size. */
async function boltholeWithin(
  bytes: number,
  ...args: string[]
): Promise<{ readonly code: unknown; readonly err: string }> {
  const limited = `ulimit -f ${String(Math.floor(bytes / BLOCK_BYTES))}; exec "$@"`;
  const child = spawn("sh", ["-c", limited, "sh", process.execPath, MAIN, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, BOLTHOLE_LOG_LEVEL: "silent" },
  });
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const [code] = (await once(child, "close")) as unknown[];
  return { code, err };
}

const random = (bytes: number): Buffer => {
  const document = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) document.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, at);
  return document;
};

test("every command refuses a limit of the size of files with which no store can be made, and changes nothing", async () => {
  const database = join(folder, "db.sqlite3");
  await daemons.serve(daemons.add(data), (store) => store.persistInputState("rt", inputRow("one")));
  expect((await bolthole("export", "meerkat", database, "--data", data)).code).toBe(EXIT.CLEAN);
  const made = ["backup", "new", "new.sqlite3", "out.sqlite3"].map((name) => join(folder, name));
  const [backup = "", fresh = "", freshDatabase = "", output = ""] = made;
  for (const command of [
    ["serve", "--data", fresh],
    ["serve", "--engine", "sqlite", "--data", freshDatabase],
    ["import", "meerkat", database, "--data", fresh],
    ["import", "meerkat", database, "--engine", "sqlite", "--data", freshDatabase],
    ["export", "meerkat", output, "--data", data],
    ["backup", backup, "--data", data],
  ]) {
    const { code, err } = await boltholeWithin(100 * 1024, ...command);
    expect([command, code, err]).toEqual([
      command,
      EXIT.DATA_FOLDER,
      expect.stringMatching(
        /^bolthole: this process may write files of at most 102400 bytes.*nothing was changed; raise the limit/,
      ),
    ]);
  }
  expect(made.filter((path) => existsSync(path))).toEqual([]);
  refuseSmallFiles(16 * MIB);
});

test("a limit of the size of files above that counts as a full disk", async () => {
  const limit = 20 * MIB;
  await daemons.serve(daemons.add(data), async (store) => {
    for (let index = 0; index < 6; index += 1) {
      await store.commitSessionSnapshot(`rt${String(index)}`, { sessionSnapshot: random(4 * MIB), profile: "opaque" });
    }
  });
  const backup = await boltholeWithin(limit, "backup", join(folder, "backup"), "--data", data);
  expect([backup.code, backup.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("raise the limit (ulimit -f)")]);
  expect(existsSync(join(folder, "backup"))).toBe(false);

  const limited = join(folder, "limited");
  const ended = boltholeWithin(limit, "serve", "--data", limited);
  const store = await connect(limited, { timeoutMs: 60_000 });
  let stored = 0;
  const fill = async (): Promise<void> => {
    for (; stored < 10; stored += 1) {
      await store.commitSessionSnapshot(`rt${String(stored)}`, { sessionSnapshot: random(4 * MIB), profile: "opaque" });
    }
  };
  await expect(fill()).rejects.toMatchObject({
    reason: "DISK_FULL",
    applied: "no",
    message: expect.stringContaining("raise the limit (ulimit -f)") as unknown,
  });
  // The daemon goes on: loads and clears work.
  expect(await store.loadSessionSnapshot("rt0")).toBeDefined();
  for (let index = 0; index < stored; index += 1) await store.clearSessionSnapshot(`rt${String(index)}`);
  await store.persistInputState("rt", inputRow("after"));
  await store.close();
  const { out } = await bolthole("status", "--data", limited, "--json");
  process.kill((JSON.parse(out) as { readonly pid: number }).pid, "SIGTERM");
  expect((await ended).code).toBe(EXIT.CLEAN);
  expect((await bolthole("verify", "--data", limited)).code).toBe(EXIT.CLEAN);
});
