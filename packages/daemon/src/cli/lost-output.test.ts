import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, MAIN, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let daemons: Daemons;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-output-"));
  daemons = new Daemons();
  await daemons.serve(daemons.add(join(folder, "data")), (store) => store.persistInputState("one", inputRow("one")));
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

interface Redirection {
  readonly before: string;
  readonly to: string;
}
const TO_FULL_DEVICE: Redirection = { before: "", to: "/dev/full" };
const TO_ENDED_READER: Redirection = { before: "exec 4> >(true); wait $!", to: "&4" };

/** Runs a command with its standard output redirected by the shell. Returns its exit code and what is on the standard error. */
const redirected = (command: string, redirection: Redirection): Promise<{ code: string; err: string }> =>
  new Promise((resolve) => {
    const run = `"${process.execPath}" "${MAIN}" ${command}`;
    const script = `${redirection.before}\n${run} >${redirection.to}; echo "$?"`;
    execFile("bash", ["-c", script], { cwd: folder }, (_error, code, err) => {
      resolve({ code: code.trim(), err });
    });
  });

const COMMANDS = [
  "verify --data data --json",
  "verify --data data",
  "horizon --data data",
  "repair --data data",
  "export meerkat out.sqlite3 --data data",
  "import meerkat out.sqlite3 --data imported",
  "delete two --yes --data data",
  "backup backup --data data",
  "restore backup --data restored",
  "--help",
];

const testWithFullDevice = existsSync("/dev/full") ? test : test.skip;

testWithFullDevice("a command whose output cannot be written completes, and says so in one line", async () => {
  for (const command of COMMANDS) {
    expect([command, await redirected(command, TO_FULL_DEVICE)]).toEqual([
      command,
      {
        code: String(EXIT.INTERNAL),
        err: expect.stringMatching(/^bolthole: the output of the command could not be written: ENOSPC.*\n$/) as string,
      },
    ]);
  }
  // The work was done.
  for (const data of ["data", "imported", "restored"]) {
    expect((await bolthole("verify", "--data", join(folder, data))).code).toBe(EXIT.CLEAN);
  }
});

test("a command whose reader has gone ends as if it had been read", async () => {
  for (const command of COMMANDS) {
    expect([command, await redirected(command, TO_ENDED_READER)]).toEqual([
      command,
      { code: String(EXIT.CLEAN), err: "" },
    ]);
  }
});
