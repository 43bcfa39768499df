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
import { Daemons, MAIN, bolthole } from "../testing/daemons.js";
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
  expect([full.code, full.err]).toEqual([
    EXIT.DATA_FOLDER,
    expect.stringMatching(/^bolthole: the backup could not be written to its end: ENOSPC.*name another place\n$/),
  ]);
  expect(statSync("/dev/full").isCharacterDevice()).toBe(true);
});

/** Runs commands with `bolthole`, so that its output is what a shell makes it. Returns their output and that on the standard error. */
const shell = (commands: string): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)("bash", ["-c", `bolthole() { "${process.execPath}" "${MAIN}" "$@"; }\n${commands}`], {
    cwd: folder,
  });

test.each(["/dev/stdout", "/proc/self/fd/1"])("the standard output (%s) may be a pipe without a name", async (path) => {
  if (!existsSync(path)) return;
  const { stdout, stderr } = await shell(
    `bolthole backup ${path} --data data | cat > ${file}; echo "\${PIPESTATUS[0]}"`,
  );
  expect([stdout, stderr]).toEqual([`${String(EXIT.CLEAN)}\n`, expect.stringContaining(`${path}: store `)]);
  expect((await bolthole("restore", file, "--data", join(folder, "restored"))).code).toBe(EXIT.CLEAN);
});

test("a reader that has gone ends a backup to the standard output with a message", async () => {
  if (!existsSync("/dev/stdout")) return;
  const { stdout, stderr } = await shell(
    `exec 4> >(true); wait $!; bolthole backup /dev/stdout --data data >&4 || echo "exit code $?" >&2`,
  );
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^bolthole: the backup could not be written to its end: .*EPIPE[^]*\nexit code 3\n$/);
});

test("a place that cannot be used is named with its cause, and a link that leads nowhere is not replaced", async () => {
  symlinkSync("nowhere", join(folder, "dangling"));
  symlinkSync("loop", join(folder, "loop"));
  writeFileSync(file, "");
  for (const [path, text] of [
    [join(folder, "dangling"), "is a link that leads to no file"],
    [join(folder, "loop"), "ELOOP"],
    [join(file, "below"), "ENOTDIR"],
    [join(folder, "missing", "backup"), "ENOENT"],
  ] as const) {
    const { code, err } = await backUp(path);
    expect([path, code, err]).toEqual([path, EXIT.USAGE, expect.stringContaining(text)]);
    expect(err).toMatch(/^bolthole: .*name .*; nothing was written\n$/);
  }
  expect(readdirSync(folder).sort()).toEqual(["backup", "dangling", "data", "loop"]);
});

test("an engine that has no backup leaves no file, with and without a daemon", async () => {
  const database = join(folder, "sessions.sqlite3");
  const daemon = daemons.add(database, ["--engine", "sqlite"], `${database}.bolthole`);
  await daemon.start();
  expect((await backUp(file, database)).code).toBe(EXIT.USAGE);
  await daemon.stop();
  expect((await backUp(file, database)).code).toBe(EXIT.USAGE);
  expect(readdirSync(folder).filter((name) => name.startsWith("backup"))).toEqual([]);
});
