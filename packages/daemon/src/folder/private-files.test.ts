import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";
import { STORE_SITES, type StoreSite } from "../testing/store-sites.js";
import { keepPrivate } from "./private-files.js";

const OTHERS = 0o077;
const isRoot = process.getuid?.() === 0;

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-private-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const TCP = ["--listen", "127.0.0.1:0"];

/** Serves a new store with a row over the socket, and stops the daemon. */
async function filled(engine: "lmdb" | "sqlite"): Promise<StoreSite> {
  const site = STORE_SITES[engine](folder, "data");
  const daemon = daemons.add(site.data, [...site.args, ...TCP], site.home);
  await daemons.serve(daemon, (store) => store.persistInputState("one", inputRow("one")));
  return site;
}

/** Returns the paths of all files of a store, without its socket. */
const filesOf = ({ home, dataFile }: StoreSite): string[] => {
  const inside = (path: string, begin = ""): string[] =>
    readdirSync(path)
      .filter((name) => name.startsWith(begin) && statSync(join(path, name)).isFile())
      .map((name) => join(path, name));
  return [...new Set([...inside(home), ...inside(dirname(dataFile), basename(dataFile))])];
};

const open = (site: StoreSite): string[] => filesOf(site).filter((path) => (statSync(path).mode & OTHERS) !== 0);

describe.each(["lmdb", "sqlite"] as const)("the files of a store of the engine %s", (engine) => {
  test("that others could read are made private by a start, and the log names each", async () => {
    const site = await filled(engine);
    expect(open(site)).toEqual([]);
    const loose = filesOf(site);
    for (const path of loose) chmodSync(path, 0o664);
    const daemon = daemons.add(site.data, [...site.args, ...TCP, "--log-level", "warn"], site.home);
    await daemons.serve(daemon, (store) => store.persistInputState("two", inputRow("two")));
    expect(open(site)).toEqual([]);
    for (const name of ["token", "bolthole.lock", "store-id"])
      expect(loose.map((path) => basename(path))).toContain(name);
    for (const path of [site.dataFile, join(site.home, "token"), join(site.home, "bolthole.lock")]) {
      expect(daemon.output).toContain(`${path} could be read by other users (mode 664); it has mode 600 now`);
    }
    expect(daemon.output).toContain("delete the file and start again: a new one is made");
  });

  test("that others could read are made private by a command, which says so", async () => {
    const site = await filled(engine);
    chmodSync(site.dataFile, 0o644);
    const { code, err } = await bolthole("horizon", "--data", site.data, ...site.args);
    expect([code, err]).toEqual([
      EXIT.CLEAN,
      expect.stringContaining(`bolthole: ${site.dataFile} could be read by other`),
    ]);
    expect(open(site)).toEqual([]);
  });

  test.each(["data", "lock"] as const)("are refused when the %s file is a link", async (which) => {
    const site = await filled(engine);
    const path = which === "data" ? site.dataFile : join(site.home, "bolthole.lock");
    const other = join(folder, "elsewhere");
    // The name of a database may be a link, which is followed once: its log belongs to the real file.
    const linked = which === "data" && engine === "sqlite" ? `${path}-wal` : path;
    if (existsSync(linked)) renameSync(linked, other);
    symlinkSync(other, linked);
    for (const command of ["serve", "horizon"]) {
      const { code, err } = await bolthole(command, "--data", site.data, ...site.args);
      expect([code, err]).toEqual([
        EXIT.DATA_FOLDER,
        expect.stringMatching(/^bolthole: expected a file at .*, found a symbolic link; move the file itself there/),
      ]);
      expect(err).toContain(linked);
    }
  });

  test("are refused when the data file has a second name, and served again after the advice was followed", async () => {
    const site = await filled(engine);
    linkSync(site.dataFile, join(folder, "second"));
    for (const command of ["serve", "horizon"]) {
      const { code, err } = await bolthole(command, "--data", site.data, ...site.args);
      expect([code, err]).toEqual([
        EXIT.DATA_FOLDER,
        expect.stringContaining(`${site.dataFile} has 2 names (hard links)`),
      ]);
      const [, advice = ""] = /using it: (cp .* && mv .*)\. Nothing was changed/.exec(err) ?? [];
      if (command === "horizon") execFileSync("sh", ["-c", advice]);
    }
    const again = daemons.add(site.data, site.args, site.home);
    expect(await daemons.serve(again, (store) => store.loadInputStates("one"))).toEqual([inputRow("one")]);
  });
});

test("an export makes an existing database private before it writes secrets into it", async () => {
  const site = await filled("lmdb");
  const out = join(folder, "out.sqlite3");
  const run = (): ReturnType<typeof bolthole> => bolthole("export", "meerkat", out, "--data", site.data);
  expect((await run()).code).toBe(EXIT.CLEAN);
  chmodSync(out, 0o644);
  const { code, err } = await run();
  // SQLite gives its log and its index the mode of the database.
  const lines = ["", "-wal", "-shm"].map(
    (suffix) => `bolthole: ${out}${suffix} could be read by other users (mode 644); it has mode 600 now\n`,
  );
  expect([code, err]).toEqual([EXIT.CLEAN, lines.join("")]);
  expect(statSync(out).mode & 0o777).toBe(0o600);
  linkSync(out, join(folder, "second"));
  expect((await run()).err).toContain(`${out} has 2 names (hard links)`);
});

(isRoot ? test : test.skip)("a loose file of another user is refused when others can enter its folder", () => {
  const path = join(folder, "data.mdb");
  writeFileSync(path, "");
  chownSync(path, 65_534, 65_534);
  chmodSync(path, 0o644);
  const script =
    `const { keepPrivate } = require(${JSON.stringify(join(__dirname, "private-files.js"))});` +
    `try { keepPrivate([${JSON.stringify(path)}], () => console.log("tightened")); console.log("accepted"); }` +
    "catch (error) { console.log(error.exitCode, error.message); }";
  const asUser = (): string =>
    execFileSync("setpriv", ["--reuid=1234", "--regid=1234", "--clear-groups", process.execPath, "-e", script], {
      encoding: "utf8",
    });
  chmodSync(folder, 0o755);
  expect(asUser()).toMatch(
    /^3 .*data\.mdb can be read by other users \(mode 644\).*\(1234\) cannot change that \(EPERM\).*chmod go=/,
  );
  chownSync(folder, 1234, 1234);
  chmodSync(folder, 0o700);
  expect(asUser()).toBe("accepted\n");
});

test("a missing file and a folder are left alone", () => {
  mkdirSync(join(folder, "sub"), { mode: 0o755 });
  const report = jest.fn();
  keepPrivate([join(folder, "missing"), join(folder, "sub")], report);
  expect(report).not.toHaveBeenCalled();
});
