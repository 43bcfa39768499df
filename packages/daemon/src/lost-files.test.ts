import { execFile } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { connect } from "@bolthole/client";
import { StoreError } from "@bolthole/contract";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { EXIT } from "./exit-code.js";
import { Daemons, bolthole } from "./testing/daemons.js";
import { inputRow } from "./testing/input-row.js";
import { STORE_SITES, type StoreSite } from "./testing/store-sites.js";

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-lost-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const siteOf = (engine: "lmdb" | "sqlite", name: string): StoreSite => STORE_SITES[engine](folder, name);

const daemonOf = ({ data, home, args }: StoreSite): DaemonProcess =>
  daemons.add(data, [...args, "--log-level", "error"], home);

/** Replaces a file by a copy of it. */
function replace(path: string): void {
  copyFileSync(path, `${path}.copy`);
  renameSync(`${path}.copy`, path);
}

/** Removes a folder in which a daemon makes files: it is moved first, so that no file comes into it meanwhile. */
function removeFolder(path: string): void {
  renameSync(path, `${path}-removed`);
  rmSync(`${path}-removed`, { recursive: true });
}

type Loss = readonly [name: string, lose: (site: StoreSite) => string];

const remove =
  (pathOf: (site: StoreSite) => string) =>
  (site: StoreSite): string => {
    rmSync(pathOf(site));
    return pathOf(site);
  };
const lockOf = ({ home }: StoreSite): string => join(home, "bolthole.lock");
const dataOf = ({ dataFile }: StoreSite): string => dataFile;

const LOSSES: readonly Loss[] = [
  ["the data file is removed", remove(dataOf)],
  [
    "the data file is replaced by a copy",
    (site) => {
      replace(site.dataFile);
      return site.dataFile;
    },
  ],
  ["the lock file is removed", remove(lockOf)],
  [
    "the folder is removed",
    (site) => {
      const removed = dirname(site.dataFile);
      removeFolder(removed);
      return removed;
    },
  ],
  [
    "the folder is moved",
    (site) => {
      const moved = dirname(site.dataFile);
      renameSync(moved, `${moved}-moved`);
      return moved;
    },
  ],
];
const LMDB_LOSSES: readonly Loss[] = [
  ["LMDB's table of readers is removed", remove(({ data }) => join(data, "lock.mdb"))],
];
const SQLITE_LOSSES: readonly Loss[] = [["the write-ahead log is removed", remove(({ data }) => `${data}-wal`)]];

describe.each([
  ["lmdb", [...LOSSES, ...LMDB_LOSSES]],
  ["sqlite", [...LOSSES, ...SQLITE_LOSSES]],
] as const)("a daemon with the engine %s", (engine, losses) => {
  test.each(losses)("acknowledges nothing and stops when %s", async (_name, lose) => {
    const site = siteOf(engine, "data");
    const daemon = await daemonOf(site).start();
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    await store.persistInputState("rt", inputRow("before"));
    const path = lose(site);
    // The client repeats the refused call until its time is over, so the reason may also be that no daemon responds any more.
    const late = { timeoutMs: 1000 };
    await expect(store.persistInputState("rt", inputRow("lost"), late)).rejects.toBeInstanceOf(StoreError);
    await store.close();
    expect(await daemon.ended).toEqual({ code: EXIT.DATA_FOLDER, signal: null });
    expect(daemon.output).toContain(`the file ${path}`);
    expect(daemon.output).toContain("while it was in use");
  });

  test("stops without any call, too", async () => {
    const site = siteOf(engine, "data");
    const daemon = await daemonOf(site).start();
    removeFolder(dirname(site.dataFile));
    expect(await daemon.ended).toEqual({ code: EXIT.DATA_FOLDER, signal: null });
  });

  test("leaves the files of the daemon that serves a folder of the same name, whether it notices or is stopped", async () => {
    for (const signal of [undefined, "SIGTERM"] as const) {
      const site = siteOf(engine, `data-${String(signal)}`);
      const first = await daemonOf(site).start();
      // The first one is frozen, so that it cannot notice before the second one serves.
      first.signal("SIGSTOP");
      removeFolder(dirname(site.dataFile));
      if (engine === "sqlite") mkdirSync(dirname(site.data), { mode: 0o700 });
      const second = await daemonOf(site).start();
      const store = await connect(second.target, { timeoutMs: 30_000 });
      await store.persistInputState("rt", inputRow("second"));
      const before = readdirSync(site.home).sort();
      if (signal) first.signal(signal);
      first.signal("SIGCONT");
      await first.ended;
      expect(readdirSync(site.home).sort()).toEqual(before);
      await store.persistInputState("rt", inputRow("third"));
      await store.close();
      const again = await connect(second.target, { timeoutMs: 30_000 });
      expect(await again.loadInputStates("rt")).toHaveLength(1);
      await again.close();
      await second.stop("SIGKILL");
      await daemons.serve(second, async (served) => {
        expect(await served.loadInputStates("rt")).toEqual([inputRow("third")]);
      });
    }
  });

  test("keeps its store from a second one, and from offline commands, when its lock file is removed", async () => {
    const site = siteOf(engine, "data");
    const first = await daemonOf(site).start();
    const store = await connect(first.target);
    await store.persistInputState("rt", inputRow("before"));
    await store.close();
    // A frozen process keeps its locks, and cannot notice the loss.
    first.signal("SIGSTOP");
    for (const name of ["bolthole.lock", "bolthole.sock", "endpoint"]) rmSync(join(site.home, name));
    const before = statSync(site.dataFile);
    const commands = [
      ["serve"],
      ["backup", join(folder, "backup")],
      ["export", "meerkat", join(folder, "out.sqlite3")],
      ["delete", "rt", "--yes"],
    ];
    if (engine === "lmdb") commands.push(["verify"], ["repair"], ["horizon"]);
    for (const command of commands) {
      const isChecked = command[0] === "verify" || command[0] === "repair";
      const { code, err } = await bolthole(...command, "--data", site.data, ...(isChecked ? [] : site.args));
      expect([command[0], code]).toEqual([command[0], EXIT.HELD]);
      expect(err).toContain(`the data file ${site.dataFile} is in use by another bolthole process`);
    }
    expect(statSync(site.dataFile)).toMatchObject({ size: before.size, mtimeMs: before.mtimeMs, ino: before.ino });
    first.signal("SIGCONT");
    expect(await first.ended).toEqual({ code: EXIT.DATA_FOLDER, signal: null });
    await daemons.serve(daemonOf(site), async (served) => {
      expect(await served.loadInputStates("rt")).toEqual([inputRow("before")]);
    });
  });

  test("keeps its store from a second one that reaches the data file by another path", async () => {
    const site = siteOf(engine, "data");
    const first = await daemonOf(site).start();
    const other = siteOf(engine, "other");
    if (engine === "lmdb")
      cpSync(site.data, other.data, { recursive: true, filter: (path) => !/\.(sock|mdb)$/.test(path) });
    // The first one must not look while its file is elsewhere. A second name of the file would be refused for itself.
    first.signal("SIGSTOP");
    renameSync(site.dataFile, other.dataFile);
    const second = daemonOf(other);
    expect(await second.runToEnd()).toEqual({ code: EXIT.HELD, signal: null });
    renameSync(other.dataFile, site.dataFile);
    first.signal("SIGCONT");
    expect(await first.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
  });
});

describe("the lock of a database file", () => {
  const SQLITE_PACKAGE = join(__dirname, "..", "..", "sqlite");
  /** Runs statements in another process, as another program would. Returns the code of SQLite's error, or "ok". */
  const foreign = async (file: string, ...statements: readonly string[]): Promise<string> => {
    const script = `const db = new (require("libsql"))(process.argv[1], { timeout: 100 });
      try {
        for (const sql of process.argv.slice(2)) {
          const statement = db.prepare(sql);
          if (statement.reader) statement.all(); else statement.run();
        }
        console.log("ok");
      } catch (error) { console.log(error.code ?? String(error)); }
      db.close();`;
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script, file, ...statements], {
      cwd: SQLITE_PACKAGE,
    });
    return stdout.trim();
  };

  test("does not disturb other programs, and SQLite's own locks stay with the daemon", async () => {
    const site = siteOf("sqlite", "data");
    const daemon = await daemonOf(site).start();
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    await store.persistInputState("rt", inputRow("before"));
    // A refused daemon opens and closes the file, and so does this test.
    expect((await daemons.add(site.data, site.args, site.home).runToEnd()).code).toBe(EXIT.HELD);
    readFileSync(site.dataFile);
    const turns = [
      foreign(site.data, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)", "SELECT * FROM theirs"),
      store.persistInputState("rt", inputRow("during")),
    ];
    expect((await Promise.all(turns))[0]).toBe("ok");
    // These need the file for themselves, which SQLite's lock of the daemon prevents.
    expect(await foreign(site.data, "PRAGMA journal_mode=DELETE")).toMatch(/^SQLITE_(BUSY|LOCKED)/);
    await store.persistInputState("rt", inputRow("after"));
    expect(await store.loadInputStates("rt")).toEqual([inputRow("after")]);
    await store.close();
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
    expect(await foreign(site.data, "PRAGMA journal_mode=DELETE", "PRAGMA integrity_check")).toBe("ok");
    expect(existsSync(`${site.data}-wal`)).toBe(false);
  });
});

test.each([
  ["while clients write", true],
  ["without any call", false],
])(
  "acknowledged changes are kept when the write-ahead log of a SQLite database is removed %s",
  async (_when, isBusy) => {
    const site = siteOf("sqlite", "data");
    const daemon = await daemonOf(site).start();
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    const acknowledged: string[] = [];
    for (let n = 0; n < 20; n += 1) {
      await store.persistInputState(`rt ${String(n)}`, inputRow("kept"));
      acknowledged.push(`rt ${String(n)}`);
    }
    rmSync(`${site.data}-wal`);
    for (let n = 20; isBusy && n < 40; n += 1) {
      try {
        await store.persistInputState(`rt ${String(n)}`, inputRow("kept"), { timeoutMs: 1000 });
        acknowledged.push(`rt ${String(n)}`);
      } catch {
        break;
      }
    }
    await store.close();
    expect(await daemon.ended).toEqual({ code: EXIT.DATA_FOLDER, signal: null });
    await daemons.serve(daemonOf(site), async (served) => {
      for (const runtimeId of acknowledged) expect(await served.loadInputStates(runtimeId)).toEqual([inputRow("kept")]);
    });
  },
);
