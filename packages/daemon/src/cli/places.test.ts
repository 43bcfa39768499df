import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { STATE_FILES } from "../folder/store-id.js";
import { type CommandResult, Daemons, MAIN, bolthole } from "../testing/daemons.js";
import { stateOf } from "../testing/folder-state.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let data: string;
let backup: string;
let source: string;
let daemons: Daemons;
beforeAll(async () => {
  // The real path, as the messages of processes that work in the folder have it.
  folder = realpathSync(mkdtempSync(join(tmpdir(), "bolthole-places-")));
  data = join(folder, "data");
  backup = join(folder, "backup");
  source = join(folder, "source.sqlite3");
  daemons = new Daemons();
  await daemons.serve(daemons.add(data), (store) => store.persistInputState("one", inputRow("one")));
  expect((await bolthole("backup", backup, "--data", data)).code).toBe(EXIT.CLEAN);
  expect((await bolthole("export", "meerkat", source, "--data", data)).code).toBe(EXIT.CLEAN);
});
afterAll(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs commands of a shell with `bolthole` in a folder, and returns the last exit code and the output. */
const shell = (cwd: string, commands: string): Promise<CommandResult> =>
  new Promise((resolve) => {
    const script = `bolthole() { "${process.execPath}" "${MAIN}" "$@"; }\n${commands}`;
    execFile("bash", ["-c", script], { cwd }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });

/** Makes a folder the mount point of a file system in memory. Returns false when this user may not mount. */
function mounted(place: string, options: string): boolean {
  mkdirSync(place);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "bolthole-test", place], { stdio: "ignore" });
    return true;
  } catch {
    console.warn("SKIPPED: this user may not mount");
    return false;
  }
}

test("a command that has no business in a folder leaves nothing in it", async () => {
  const foreign = join(folder, "foreign");
  const empty = join(folder, "empty");
  const other = join(folder, "lmdb of another program");
  for (const path of [foreign, empty, other]) mkdirSync(path);
  writeFileSync(join(foreign, "photo.jpg"), "photo");
  writeFileSync(join(other, "data.mdb"), "of another program");
  const reading = [
    ["verify"],
    ["repair"],
    ["repair", "--dry-run"],
    ["backup", join(folder, "new")],
    ["export", "meerkat", join(folder, "new")],
    ["horizon"],
    ["horizon", "--set", "now"],
    ["delete", "one", "--yes"],
    ["status"],
  ];
  const making = [
    ["import", "meerkat", source],
    ["serve", "--log-level", "silent"],
    ["restore", backup],
  ];
  for (const [path, commands] of [
    [foreign, [...reading, ...making]],
    [other, [["verify"], ["backup", join(folder, "new")], ["import", "meerkat", source]]],
    [empty, [["verify"], ["repair"], ["backup", join(folder, "new")]]],
  ] as const) {
    const before = stateOf(path);
    for (const command of commands) {
      const { code, err } = await bolthole(...command, "--data", path);
      const wanted = command[0] === "status" ? EXIT.NOT_RUNNING : EXIT.DATA_FOLDER;
      expect([path, command, code, err]).toEqual([
        path,
        command,
        wanted,
        expect.stringMatching(
          /^bolthole: (there is no store at|.* is not (a Bolthole data folder|empty)|no daemon serves)/,
        ),
      ]);
      expect([path, command, stateOf(path)]).toEqual([path, command, before]);
    }
  }
  expect(existsSync(join(folder, "new"))).toBe(false);
});

test("a data folder that is a device is named as what it is", async () => {
  const { code, err } = await bolthole("serve", "--data", "/dev/null");
  expect([code, err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("expected a folder at /dev/null")]);
});

test("an empty variable counts as unset, and an empty path is refused by every command", async () => {
  const place = join(folder, "place");
  mkdirSync(place);
  const unset = await shell(place, `BOLTHOLE_DATA= bolthole restore "${backup}"`);
  expect([unset.code, unset.err]).toEqual([
    EXIT.USAGE,
    "bolthole: name the new data folder with --data or in BOLTHOLE_DATA\n",
  ]);
  for (const command of [
    ["restore", backup],
    ["verify"],
    ["status"],
    ["repair"],
    ["backup", join(folder, "new")],
    ["export", "meerkat", join(folder, "new")],
    ["import", "meerkat", source],
    ["horizon"],
    ["delete", "one", "--yes"],
    ["serve"],
  ]) {
    const { code, err } = await bolthole(...command, "--data", "");
    expect([command, code, err]).toEqual([command, EXIT.USAGE, "bolthole: --data: expected a path, found nothing\n"]);
  }
  expect(readdirSync(place)).toEqual([]);
  const named = await shell(place, `BOLTHOLE_DATA="${join(place, "new")}" bolthole restore "${backup}"`);
  expect([named.code, named.err]).toEqual([EXIT.CLEAN, ""]);
});

test("a restore into the working directory keeps it, so that the shell can go on", async () => {
  const place = join(folder, "working");
  mkdirSync(place);
  const { code, out, err } = await shell(
    place,
    `bolthole restore "${backup}" --data . && bolthole verify --data . && ls`,
  );
  expect([code, err, out]).toEqual([EXIT.CLEAN, "", expect.stringContaining("1 runtime, 1 record")]);
  expect(out).toMatch(/data\.mdb\nformat\n/);
});

test("a restore into an empty mount point is complete", async () => {
  const place = join(folder, "mounted");
  if (!mounted(place, "size=32m")) return;
  try {
    const { code, err } = await bolthole("restore", backup, "--data", place);
    expect([code, err]).toEqual([EXIT.CLEAN, ""]);
    expect((await bolthole("verify", "--data", place)).code).toBe(EXIT.CLEAN);
  } finally {
    execFileSync("umount", [place]);
  }
});

test("a restore blames the backup when the backup cannot be read", async () => {
  const isRoot = process.getuid?.() === 0;
  const unreadable = join(folder, "unreadable");
  writeFileSync(unreadable, "");
  chmodSync(unreadable, 0);
  // Root may read every file.
  for (const path of [data, ...(isRoot ? [] : [unreadable])]) {
    const { code, err } = await bolthole("restore", path, "--data", join(folder, "target"));
    expect([code, err]).toEqual([EXIT.USAGE, expect.stringContaining(`the backup ${path} cannot be read: E`)]);
  }
  expect(existsSync(join(folder, "target"))).toBe(false);
});

test("a full disk is named as such by every command that writes, with exit code 3 and without rests of new files", async () => {
  const full = join(folder, "full");
  if (!mounted(full, "size=200k")) return;
  try {
    // Fills the rest of the disk.
    expect(() => {
      writeFileSync(join(full, "rest"), Buffer.alloc(300_000));
    }).toThrow("ENOSPC");
    const at = (name: string): string => join(full, name);
    for (const command of [
      ["backup", at("b"), "--data", data],
      ["import", "meerkat", source, "--data", at("imported")],
      ["export", "meerkat", at("x.sqlite3"), "--data", data],
      ["restore", backup, "--data", at("restored")],
    ]) {
      const { code, err } = await bolthole(...command);
      expect([command, code, err]).toEqual([
        command,
        EXIT.DATA_FOLDER,
        expect.stringMatching(/^bolthole: .*(no space|is full)[^\n]*\n$/),
      ]);
    }
    expect(readdirSync(full).filter((name) => name !== "imported")).toEqual(["rest"]);
  } finally {
    execFileSync("umount", [full]);
  }
});

test("an export names a file when its target is a folder or a device", async () => {
  for (const path of ["/dev/null", folder]) {
    const { code, err } = await bolthole("export", "meerkat", path, "--data", data);
    expect([path, code, err]).toEqual([
      path,
      EXIT.USAGE,
      expect.stringContaining("name a database of Meerkat, or a new file"),
    ]);
  }
});

test("a request id that is no UUIDv7 is refused before anything is opened", async () => {
  for (const id of ["abc", "", "0198f01a-0000-4000-8000-000000000001"]) {
    const { code, err } = await bolthole("delete", "one", "--yes", "--request-id", id, "--data", data);
    expect([id, code, err]).toEqual([
      id,
      EXIT.USAGE,
      expect.stringMatching(/^bolthole: option '--request-id.*Expected a UUIDv7/),
    ]);
  }
});

test.each(STATE_FILES)("a pipe in the place of the file %s is named, and not waited for", async (name) => {
  const copy = mkdtempSync(join(folder, "pipe-"));
  expect((await bolthole("restore", backup, "--data", copy)).code).toBe(EXIT.CLEAN);
  const path = join(copy, name);
  rmSync(path, { force: true });
  execFileSync("mkfifo", [path]);
  const { code, err } = await bolthole("serve", "--data", copy, "--listen", "127.0.0.1:0", "--log-level", "silent");
  expect([code, err]).toEqual([
    EXIT.DATA_FOLDER,
    expect.stringContaining(`expected a file at ${path}, found a folder, pipe`),
  ]);
});

test("a pipe in the place of the file endpoint makes no command wait", async () => {
  const copy = mkdtempSync(join(folder, "endpoint-"));
  expect((await bolthole("restore", backup, "--data", copy)).code).toBe(EXIT.CLEAN);
  execFileSync("mkfifo", [join(copy, "endpoint")]);
  const status = await bolthole("status", "--data", copy);
  expect([status.code, status.err]).toEqual([EXIT.NOT_RUNNING, expect.stringContaining("no daemon serves")]);
  const verify = await bolthole("verify", "--data", copy);
  expect([verify.code, verify.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("expected a file at")]);
});
