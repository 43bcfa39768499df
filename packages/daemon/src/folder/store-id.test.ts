import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { type CommandResult, Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";
import { STORE_SITES, type StoreSite } from "../testing/store-sites.js";

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-store-id-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const siteOf = (engine: "lmdb" | "sqlite", name: string): StoreSite => STORE_SITES[engine](folder, name);
const idFileOf = ({ home }: StoreSite): string => join(home, "store-id");
const ENGINES = ["lmdb", "sqlite"] as const;

/** Serves a store, stores one row, stops the daemon, and returns the id of the store. */
const filled = ({ data, home, args }: StoreSite): Promise<string> =>
  daemons.serve(daemons.add(data, args, home), async (store) => {
    await store.persistInputState("one", inputRow("one"));
    return (await store.versioned.getServerInfo({})).storeId;
  });

const serve = ({ data, args }: StoreSite, ...more: readonly string[]): Promise<CommandResult> =>
  bolthole("serve", "--data", data, ...args, "--log-level", "silent", ...more);

describe.each(ENGINES)("the data file of the engine %s", (engine) => {
  test("keeps its store id beside it, and the store is opened again", async () => {
    const site = siteOf(engine, "data");
    const id = await filled(site);
    expect(readFileSync(idFileOf(site), "utf8")).toBe(`${id}\n`);
    expect(await filled(site)).toBe(id);
    // A folder of an older version has no such file.
    rmSync(idFileOf(site));
    expect(await filled(site)).toBe(id);
    expect(readFileSync(idFileOf(site), "utf8")).toBe(`${id}\n`);
  });

  test.each([
    [
      "is missing",
      (file: string) => {
        rmSync(file);
      },
    ],
    [
      "is empty",
      (file: string) => {
        truncateSync(file);
      },
    ],
  ])("is not replaced by an empty store when it %s, and a backup keeps its old file", async (text, lose) => {
    const site = siteOf(engine, "data");
    const id = await filled(site);
    const backup = join(folder, "backup");
    if (engine === "lmdb") expect((await bolthole("backup", backup, "--data", site.data)).code).toBe(EXIT.CLEAN);
    else writeFileSync(backup, "an older backup");
    const before = readFileSync(backup);
    lose(site.dataFile);
    for (const result of [await serve(site), await serve(site, "--check", "full")]) {
      expect([result.code, result.err]).toEqual([
        EXIT.DAMAGED,
        expect.stringContaining(`the data of store ${id} is lost`),
      ]);
      expect(result.err).toContain(text);
    }
    const refused = await bolthole("backup", backup, "--data", site.data, ...site.args);
    expect(refused.code).not.toBe(EXIT.CLEAN);
    expect(readFileSync(backup)).toEqual(before);
    expect(existsSync(site.dataFile) ? readFileSync(site.dataFile).length : 0).toBe(0);
  });

  test("is refused when it is the one of another store, until the note is deleted", async () => {
    const [one, other] = [siteOf(engine, "one"), siteOf(engine, "other")];
    const [oneId, otherId] = [await filled(one), await filled(other)];
    copyFileSync(other.dataFile, one.dataFile);
    const refused = await serve(one);
    expect(refused.code).toBe(EXIT.DATA_FOLDER);
    expect(refused.err).toContain(`expected the data of store ${oneId}`);
    expect(refused.err).toContain(`found store ${otherId}`);
    rmSync(idFileOf(one));
    expect(await filled(one)).toBe(otherId);
  });
});

test("a note that is not a store id is refused, and not overwritten", async () => {
  const site = siteOf("lmdb", "data");
  await filled(site);
  writeFileSync(idFileOf(site), "something else\n");
  const refused = await serve(site);
  expect([refused.code, refused.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining('found "something else"')]);
  expect(readFileSync(idFileOf(site), "utf8")).toBe("something else\n");
});

test("commands that read a store create none in an empty folder", async () => {
  const data = join(folder, "empty");
  mkdirSync(data, { mode: 0o700 });
  const backup = join(folder, "backup");
  const results = [
    await bolthole("backup", backup, "--data", data),
    await bolthole("export", "meerkat", join(folder, "out.sqlite3"), "--data", data),
    await bolthole("delete", "one", "--yes", "--data", data),
  ];
  for (const { code, err } of results) {
    expect([code, err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining(`there is no store at ${data}`)]);
  }
  expect([existsSync(backup), existsSync(join(data, "data.mdb"))]).toEqual([false, false]);
});

test("no command makes or finds a store in a folder into which a restore was killed", async () => {
  const data = join(folder, "restored");
  const draft = join(data, "restoring-99999999-abcdef");
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const site = siteOf("sqlite", "source");
  const source = site.dataFile;
  await filled(site);
  const commands = [
    ["serve"],
    ["status"],
    ["backup", join(folder, "backup")],
    ["export", "meerkat", join(folder, "out.sqlite3")],
    ["import", "meerkat", source],
    ["import", "meerkat", source, "--dry-run"],
    ["delete", "one", "--yes"],
    ["verify"],
    ["repair"],
    ["horizon"],
  ];
  for (const command of commands) {
    const { code, err } = await bolthole(...command, "--data", data);
    const expected = command[0] === "status" ? EXIT.NOT_RUNNING : EXIT.DATA_FOLDER;
    expect([command, code, err]).toEqual([
      command,
      expected,
      expect.stringMatching(/has no complete store: a restore into it .*repeat the same restore/),
    ]);
    expect(readdirSync(data)).toEqual(["restoring-99999999-abcdef"]);
  }
});
