import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "../exit-code.js";
import { type CommandResult, Daemons, MAIN, bolthole } from "../testing/daemons.js";
import { makeReadOnly } from "../testing/folder-state.js";
import { inputRow } from "../testing/input-row.js";

/** Users that no password database has. */
const NOBODY_KNOWN = 54_321;
const GROUP = 54_322;
const isRoot = process.getuid?.() === 0;
/** Only root can run processes of another user. */
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("SKIPPED: the tests with a second user need root");

let folder: string;
let daemons: Daemons;
let processes: ChildProcess[];
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "bolthole-users-")));
  chmodSync(folder, 0o755);
  daemons = new Daemons();
  processes = [];
});
afterEach(async () => {
  await daemons.end();
  for (const one of processes) {
    if (one.exitCode !== null || one.signalCode !== null) continue;
    one.kill("SIGKILL");
    await once(one, "close");
  }
  rmSync(folder, { recursive: true, force: true });
});

/** The command line that runs `bolthole` as a user with one more group. `env -i` removes HOME and all settings. */
const commandOf = (uid: number, group: number, args: readonly string[]): readonly string[] => [
  "-i",
  `PATH=${process.env.PATH ?? ""}`,
  "setpriv",
  `--reuid=${String(uid)}`,
  `--regid=${String(uid)}`,
  `--groups=${String(group)}`,
  process.execPath,
  MAIN,
  ...args,
];

const boltholeAs = (uid: number, group: number, ...args: readonly string[]): Promise<CommandResult> =>
  new Promise((resolve) => {
    execFile("env", [...commandOf(uid, group, args)], { cwd: "/", timeout: 240_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err });
    });
  });

/** Starts a daemon as a user, and resolves when it serves. */
async function serveAs(uid: number, group: number, home: string, ...args: readonly string[]): Promise<ChildProcess> {
  const daemon = spawn("env", [...commandOf(uid, group, ["serve", "--log-level", "warn", ...args])], {
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe"],
  });
  processes.push(daemon);
  let errors = "";
  daemon.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  for (let wait = 0; wait < 6000 && !existsSync(join(home, "endpoint")); wait += 1) {
    if (daemon.exitCode !== null) throw new Error(`the daemon ended with ${String(daemon.exitCode)}: ${errors}`);
    await sleep(10);
  }
  return daemon;
}

async function stop(daemon: ChildProcess): Promise<number | null> {
  daemon.kill("SIGTERM");
  const [code] = (await once(daemon, "close")) as [number | null];
  return code;
}

asRoot("a user without HOME and without an entry in the password database needs --data, and nothing else", async () => {
  for (const command of [["serve"], ["verify"], ["status"], ["repair"], ["horizon"], ["delete", "one", "--yes"]]) {
    const { code, err } = await boltholeAs(NOBODY_KNOWN, NOBODY_KNOWN, ...command);
    expect([command, code, err]).toEqual([
      command,
      EXIT.USAGE,
      "bolthole: --data: this user has no home folder (HOME is not set), so there is no default; choose a data folder\n",
    ]);
  }
  chownSync(folder, NOBODY_KNOWN, NOBODY_KNOWN);
  const data = join(folder, "data");
  const daemon = await serveAs(NOBODY_KNOWN, NOBODY_KNOWN, data, "--data", data);
  const status = await boltholeAs(NOBODY_KNOWN, NOBODY_KNOWN, "status", "--data", data);
  expect([status.code, status.err]).toEqual([EXIT.CLEAN, ""]);
  // Root named the folder, and may ask the daemon of its owner.
  expect(await bolthole("status", "--data", data)).toMatchObject({ code: EXIT.CLEAN, err: "" });
  expect(await stop(daemon)).toBe(EXIT.CLEAN);
  expect(statSync(join(data, "data.mdb")).uid).toBe(NOBODY_KNOWN);
});

asRoot("in a volume of root with the group of the daemon, the advice of each error works", async () => {
  const volume = join(folder, "volume");
  mkdirSync(volume);
  chownSync(volume, 0, GROUP);
  chmodSync(volume, 0o2770);
  for (const [args, name] of [
    [[], ""],
    [["--engine", "sqlite"], "sessions.sqlite3"],
  ] as const) {
    const refused = await boltholeAs(NOBODY_KNOWN, GROUP, "serve", "--data", join(volume, name), ...args);
    expect([refused.code, refused.err]).toEqual([
      EXIT.DATA_FOLDER,
      expect.stringContaining("name a new folder in it, such as"),
    ]);
    const [, proposed = ""] = /such as (.*?),/.exec(refused.err) ?? [];
    const data = join(proposed, name);
    const home = name === "" ? data : `${data}.bolthole`;
    const daemon = await serveAs(NOBODY_KNOWN, GROUP, home, "--data", data, ...args);
    const status = await boltholeAs(NOBODY_KNOWN, GROUP, "status", "--data", data);
    expect([status.code, status.err]).toEqual([EXIT.CLEAN, ""]);
    expect(await stop(daemon)).toBe(EXIT.CLEAN);
    expect(statSync(proposed).mode & 0o777).toBe(0o700);
  }
});

test("a data folder on a read-only file system is named as such by every command, and a copy of it works", async () => {
  const data = join(folder, "data");
  await daemons.serve(daemons.add(data), (store) => store.persistInputState("one", inputRow("one")));
  const readOnly = makeReadOnly(data);
  if (readOnly?.how !== "a read-only mount") {
    readOnly?.end();
    console.warn("SKIPPED: this user may not mount");
    return;
  }
  try {
    for (const command of [
      ["verify"],
      ["backup", join(folder, "backup")],
      ["export", "meerkat", join(folder, "out.sqlite3")],
      ["serve"],
    ]) {
      const { code, err } = await bolthole(...command, "--data", readOnly.path);
      expect([command, code, err]).toEqual([
        command,
        EXIT.DATA_FOLDER,
        expect.stringContaining("it is on a read-only file system"),
      ]);
      const [, from = "", to = ""] = /cp -a (\S+) (\S+),/.exec(err) ?? [];
      expect([from, to]).toEqual([readOnly.path, "COPY"]);
    }
    const copy = join(folder, "copy");
    await new Promise((resolve) => execFile("cp", ["-a", readOnly.path, copy], resolve));
    expect(await bolthole("verify", "--data", copy)).toMatchObject({ code: EXIT.CLEAN });
    expect(await bolthole("backup", join(folder, "backup"), "--data", copy)).toMatchObject({ code: EXIT.CLEAN });
    expect(readFileSync(join(folder, "backup")).length).toBeGreaterThan(0);
  } finally {
    readOnly.end();
  }
});
