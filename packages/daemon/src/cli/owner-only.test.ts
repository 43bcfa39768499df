import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

const GROUP_AND_OTHERS = 0o077;

let folder: string;
let umask: number;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-owner-"));
  // The usual one, with which other users may read new files. The commands inherit it.
  umask = process.umask(0o022);
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  process.umask(umask);
  rmSync(folder, { recursive: true, force: true });
});

/** Returns the files in the folder and below it that other users may read or write. */
const openFiles = (): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => {
    const found = statSync(join(folder, name));
    return found.isFile() && (found.mode & GROUP_AND_OTHERS) !== 0;
  });

test("other users can read no file that a command makes, in a folder that they can read", async () => {
  const at = (name: string): string => join(folder, name);
  await daemons.serve(daemons.add(at("data")), (store) => store.persistInputState("one", inputRow("one")));
  for (const name of ["imported", "restored"]) mkdirSync(at(name), { mode: 0o755 });
  for (const command of [
    ["export", "meerkat", at("out.sqlite3"), "--data", at("data")],
    ["import", "meerkat", at("out.sqlite3"), "--data", at("imported")],
    ["import", "meerkat", at("out.sqlite3"), "--data", at("new")],
    ["import", "meerkat", at("out.sqlite3"), "--data", at("copy.sqlite3"), "--engine", "sqlite"],
    ["backup", at("backup"), "--data", at("data")],
    ["restore", at("backup"), "--data", at("restored")],
    ["verify", "--data", at("restored")],
    ["repair", "--data", at("restored")],
    ["horizon", "--set", "now", "--data", at("restored")],
    ["delete", "one", "--yes", "--data", at("imported")],
  ]) {
    expect([command, await bolthole(...command)]).toEqual([command, expect.objectContaining({ code: EXIT.CLEAN })]);
    expect([command, openFiles()]).toEqual([command, []]);
  }
});
