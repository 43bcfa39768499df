import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeerkatFile } from "@bolthole/sqlite";
import {
  DatabaseProcess,
  FOREIGN_RUNTIMES,
  FOREIGN_STATES,
  type ForeignState,
  makeForeignDatabase,
} from "@bolthole/sqlite/testing";
import { EXIT } from "../exit-code.js";
import { bolthole } from "../testing/daemons.js";
import { makeReadOnly, stateOf } from "../testing/folder-state.js";

let folder: string;
let sources: string;
let data: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-unchanged-"));
  sources = join(folder, "sources");
  mkdirSync(sources);
  data = join(folder, "data");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const importFile = (file: string, ...flags: string[]): ReturnType<typeof bolthole> =>
  bolthole("import", "meerkat", file, "--data", data, ...flags);

/** Expects that every runtime of the source is in the store, with the contents that it had when the source was made. */
async function expectImported(runtimes: number): Promise<void> {
  const out = join(folder, "out.sqlite3");
  expect((await bolthole("export", "meerkat", out, "--data", data)).code).toBe(EXIT.CLEAN);
  const exported = await MeerkatFile.openToRead(out);
  const found = await exported.runtimes();
  expect(found).toHaveLength(runtimes);
  for (const { runtimeId } of found) {
    expect((await exported.read(runtimeId ?? "")).lifecycle?.toString()).toContain('"idle"');
  }
  await exported.close();
}

describe.each(FOREIGN_STATES)("a database in the state: %s", (state) => {
  test("is imported whole, and neither its files nor their folder change", async () => {
    const file = await makeForeignDatabase(sources, state);
    const before = stateOf(sources);
    const dry = await importFile(file, "--dry-run");
    expect([dry.code, dry.err]).toEqual([EXIT.CLEAN, ""]);
    expect(dry.out).toContain(`runtimes: ${FOREIGN_RUNTIMES} added`);
    expect(stateOf(sources)).toEqual(before);
    expect((await importFile(file)).code).toBe(EXIT.CLEAN);
    expect(stateOf(sources)).toEqual(before);
    await expectImported(FOREIGN_RUNTIMES);
  });

  test("is imported from a folder that cannot be written", async () => {
    const file = await makeForeignDatabase(sources, state);
    const before = stateOf(sources);
    const readOnly = makeReadOnly(sources);
    if (!readOnly) {
      console.warn("SKIPPED: this user is root and may not mount, so that no folder can be made read-only");
      return;
    }
    try {
      const { code, out, err } = await importFile(file.replace(sources, readOnly.path));
      expect([readOnly.how, code, err]).toEqual([readOnly.how, EXIT.CLEAN, ""]);
      expect(out).toContain(`runtimes: ${FOREIGN_RUNTIMES} added`);
    } finally {
      readOnly.end();
    }
    expect(stateOf(sources)).toEqual(before);
    await expectImported(FOREIGN_RUNTIMES);
  });

  test("is compared with a store by a dry run of an export, and does not change", async () => {
    const file = await makeForeignDatabase(sources, state);
    expect((await importFile(file)).code).toBe(EXIT.CLEAN);
    const before = stateOf(sources);
    const { code, out } = await bolthole("export", "meerkat", file, "--dry-run", "--data", data);
    expect([code, out]).toEqual([EXIT.CLEAN, expect.stringContaining(`${FOREIGN_RUNTIMES} unchanged`)]);
    expect(stateOf(sources)).toEqual(before);
  });
});

/** The changes that another process makes during an import. */
const MAX_CHANGES = 100;

describe("while another process has the database open", () => {
  let other: DatabaseProcess;
  let file: string;
  beforeEach(async () => {
    file = await makeForeignDatabase(sources, "closed");
    other = new DatabaseProcess(file);
    await other.exec(
      "INSERT OR REPLACE INTO runtime_states SELECT 'log', runtime_state_json FROM runtime_states LIMIT 1",
    );
  });
  afterEach(() => other.kill());

  test("the import sees what only its log has, and nothing changes", async () => {
    const before = stateOf(sources);
    expect(before).toHaveLength(3);
    const { code, out } = await importFile(file);
    expect([code, out]).toEqual([EXIT.CLEAN, expect.stringContaining(`${FOREIGN_RUNTIMES + 1} added`)]);
    expect(stateOf(sources)).toEqual(before);
    await expectImported(FOREIGN_RUNTIMES + 1);
  });

  test("the other process writes and moves its log into the file, and every import is whole", async () => {
    for (let round = 0; round < 1; round += 1) {
      const progress = { ended: false, changes: 0 };
      const importing = importFile(file, "--overwrite").finally(() => {
        progress.ended = true;
      });
      // A bounded number: a writer that never pauses can keep an import waiting.
      while (!progress.ended && progress.changes < MAX_CHANGES) {
        await other.exec("UPDATE runtime_states SET runtime_state_json = CAST(runtime_state_json || ' ' AS BLOB)");
        await other.exec("PRAGMA wal_checkpoint(PASSIVE)");
        progress.changes += 1;
      }
      const { code, out, err } = await importing;
      expect([code, err]).toEqual([EXIT.CLEAN, ""]);
      expect(out).toMatch(new RegExp(`${FOREIGN_RUNTIMES + 1} (added|unchanged)`));
      expect(progress.changes).toBeGreaterThan(0);
    }
    await expectImported(FOREIGN_RUNTIMES + 1);
  });
});

test.each(["closed", "crashed", "rollback mode"] as const)(
  "a database of another program in the state %s is refused by every command, and does not change",
  async (state: ForeignState) => {
    const file = await makeForeignDatabase(sources, state);
    // A database without a table of the reference is one of another program.
    const other = new DatabaseProcess(file);
    await other.exec("DROP TABLE runtime_states");
    const kept = join(folder, "kept");
    mkdirSync(kept);
    for (const suffix of ["", "-wal", "-shm"]) {
      if (existsSync(file + suffix)) copyFileSync(file + suffix, join(kept, `other.sqlite3${suffix}`));
    }
    await other.kill();
    const foreign = join(kept, "other.sqlite3");
    const sound = join(folder, "sound");
    mkdirSync(sound);
    expect((await importFile(await makeForeignDatabase(sound, "closed"))).code).toBe(EXIT.CLEAN);
    const before = stateOf(kept);
    const refused = expect.stringMatching(
      /is not a database of Meerkat|is the database of|is a file, and verify/,
    ) as string;
    for (const command of [
      ["import", "meerkat", foreign, "--data", data],
      ["export", "meerkat", foreign, "--data", data],
      ["export", "meerkat", foreign, "--data", data, "--dry-run"],
      ["verify", "--data", foreign],
    ]) {
      const { code, err } = await bolthole(...command);
      expect([command, code, err]).toEqual([command, expect.any(Number), refused]);
      expect([command, code]).not.toEqual([command, EXIT.CLEAN]);
      expect([command, stateOf(kept)]).toEqual([command, before]);
    }
    const files = before.length;
    const { code } = await bolthole("serve", "--engine", "sqlite", "--data", foreign);
    expect(code).toBe(EXIT.DATA_FOLDER);
    // The lock is in a folder beside the database.
    expect(stateOf(kept).slice(0, files)).toEqual(before);
  },
);

test("commands that only read keep every byte of our own store and of a backup", async () => {
  const file = await makeForeignDatabase(sources, "closed");
  expect((await importFile(file)).code).toBe(EXIT.CLEAN);
  const backup = join(folder, "backup");
  expect((await bolthole("backup", backup, "--data", data)).code).toBe(EXIT.CLEAN);
  const bytes = (): Buffer[] => [readFileSync(join(data, "data.mdb")), readFileSync(backup)];
  const before = bytes();
  for (const command of [
    ["status"],
    ["verify"],
    ["horizon"],
    ["export", "meerkat", join(folder, "out.sqlite3")],
    ["export", "meerkat", join(folder, "out.sqlite3"), "--dry-run"],
    ["import", "meerkat", file, "--dry-run"],
    ["repair", "--dry-run"],
    ["backup", join(folder, "second")],
  ]) {
    const { code } = await bolthole(...command, "--data", data);
    expect([command, code]).toEqual([command, command[0] === "status" ? EXIT.NOT_RUNNING : EXIT.CLEAN]);
    expect([command, bytes().map((now, at) => before[at]?.equals(now))]).toEqual([command, [true, true]]);
  }
  const state = stateOf(folder).filter((entry) => JSON.stringify(entry).includes('"backup"'));
  expect((await bolthole("restore", backup, "--data", join(folder, "restored"))).code).toBe(EXIT.CLEAN);
  expect(stateOf(folder).filter((entry) => JSON.stringify(entry).includes('"backup"'))).toEqual(state);
});

test("an export writes nothing into the data folder, also by a link to it", async () => {
  expect((await importFile(await makeForeignDatabase(sources, "closed"))).code).toBe(EXIT.CLEAN);
  symlinkSync(data, join(folder, "link"));
  const before = readdirSync(data).sort();
  for (const path of [join(data, "out.sqlite3"), join(folder, "link", "out.sqlite3"), join(data, "format")]) {
    const { code, err } = await bolthole("export", "meerkat", path, "--data", data);
    expect([code, err]).toEqual([
      EXIT.USAGE,
      expect.stringContaining("is in the data folder of the store; name a file"),
    ]);
  }
  expect(readdirSync(data).sort()).toEqual(before);
});

test("a pipe, a folder and the database of the store itself are refused at once", async () => {
  const file = await makeForeignDatabase(sources, "closed");
  const before = stateOf(sources);
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  for (const [path, store, text] of [
    [pipe, data, "is a folder, pipe or device"],
    [sources, data, "is a folder, pipe or device"],
    [file, file, "is the database of the store itself; nothing was changed"],
  ] as const) {
    const { code, err } = await bolthole("import", "meerkat", path, "--data", store);
    expect([path, code, err]).toEqual([path, expect.any(Number), expect.stringContaining(text)]);
    expect(code).not.toBe(EXIT.CLEAN);
    expect(stateOf(sources)).toEqual(before);
  }
  writeFileSync(join(folder, "text"), "some text, ".repeat(1000));
  const { code, err } = await importFile(join(folder, "text"));
  expect([code, err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("is not a SQLite database")]);
});
