import { execFile, execFileSync } from "node:child_process";
import {
  existsSync,
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
import { promisify } from "node:util";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let data: string;
let file: string;
let daemons: Daemons;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-backup-"));
  data = join(folder, "data");
  file = join(folder, "backup");
  daemons = new Daemons();
  await daemons.serve(daemons.add(data), async (store) => {
    await store.persistInputState("one", inputRow("one"));
  });
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const backUp = (path: string, from = data) => bolthole("backup", path, "--data", from);

test("a backup never takes the place of the store or of another file", async () => {
  const before = readFileSync(join(data, "data.mdb"));
  const note = join(folder, "note");
  writeFileSync(note, "not a backup");
  symlinkSync(join(data, "data.mdb"), join(folder, "link"));
  for (const path of [join(data, "data.mdb"), join(data, "new"), join(folder, "link"), note, folder]) {
    const refused = await backUp(path);
    expect([path, refused.code]).toEqual([path, EXIT.USAGE]);
    expect(refused.err).toMatch(/in the data folder|is no backup of Bolthole|is no file, pipe/);
    expect(refused.err).toContain("nothing was written");
  }
  expect(readFileSync(join(data, "data.mdb")).equals(before)).toBe(true);
  expect(readFileSync(note, "utf8")).toBe("not a backup");
  expect(readdirSync(folder).sort()).toEqual(["data", "link", "note"]);
});

test("a backup and an empty file are replaced, and the rest of a killed backup is removed", async () => {
  writeFileSync(file, "");
  // No process has an id above the largest one.
  writeFileSync(`${file}.99999999.new`, "a part");
  writeFileSync(`${file}.${String(process.pid)}.new`, "of a running process");
  for (let round = 0; round < 2; round += 1) expect((await backUp(file)).code).toBe(EXIT.CLEAN);
  expect(readdirSync(folder).sort()).toEqual(["backup", `backup.${String(process.pid)}.new`, "data"]);
  expect((await bolthole("restore", file, "--data", join(folder, "restored"))).code).toBe(EXIT.CLEAN);
});

test("the copy of an empty store does not replace a better backup", async () => {
  expect((await backUp(file)).code).toBe(EXIT.CLEAN);
  const good = readFileSync(file);
  const empty = join(folder, "empty");
  await daemons.serve(daemons.add(empty), () => Promise.resolve());
  const refused = await backUp(file, empty);
  expect([refused.code, refused.err]).toEqual([EXIT.USAGE, expect.stringContaining("the store is empty; the backup")]);
  expect(readFileSync(file).equals(good)).toBe(true);
  expect((await backUp(join(folder, "other"), empty)).code).toBe(EXIT.CLEAN);
});

test("a pipe is written in place, and a device stays a device", async () => {
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const [written, read] = await Promise.all([
    backUp(pipe),
    promisify(execFile)("cat", [pipe], { encoding: "buffer", maxBuffer: 1 << 28 }),
  ]);
  expect(written.code).toBe(EXIT.CLEAN);
  expect(written.out).toBe("");
  expect(written.err).toContain("store ");
  expect(statSync(pipe).isFIFO()).toBe(true);
  writeFileSync(file, read.stdout);
  expect((await bolthole("restore", file, "--data", join(folder, "restored"))).code).toBe(EXIT.CLEAN);

  if (!existsSync("/dev/full")) return;
  const full = await backUp("/dev/full");
  expect(full.code).not.toBe(EXIT.CLEAN);
  expect(statSync("/dev/full").isCharacterDevice()).toBe(true);
});
