import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-compact-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Makes a store with one row that is stored, and the bytes of rows that were deleted. */
const fill = (): Promise<void> =>
  daemons.serve(daemons.add(data), async (store) => {
    for (const runtime of ["a", "b"]) await store.persistInputState(runtime, inputRow("deleted".repeat(100_000)));
    for (const runtime of ["a", "b"]) await store.deleteRuntime(runtime);
    await store.persistInputState("rt", inputRow("kept"));
  });

test("the data file becomes small, and the store is served as before", async () => {
  await fill();
  const file = join(data, "data.mdb");
  const before = statSync(file);
  const { code, out, err } = await bolthole("compact", "--data", data);
  expect([code, err]).toEqual([EXIT.CLEAN, ""]);
  expect(out).toMatch(/^\d+\.\d MiB before, 0\.\d MiB after: 1 runtime, 1 record, \d+ request outcomes\n$/);
  const after = statSync(file);
  expect([after.mode & 0o777, after.size < before.size / 2]).toEqual([0o600, true]);
  expect(readFileSync(file).includes("deleted".repeat(100))).toBe(false);
  expect(readdirSync(data)).not.toContain("running");
  expect((await bolthole("verify", "--data", data)).code).toBe(EXIT.CLEAN);
  await daemons.serve(daemons.add(data), async (store) => {
    expect(await store.loadInputStates("rt")).toEqual([inputRow("kept")]);
    await store.persistInputState("rt", inputRow("again"));
  });
  const json = await bolthole("compact", "--data", data, "--json");
  expect(JSON.parse(json.out)).toMatchObject({ damaged: 0, counts: { runtimes: 1, rows: 1 } });
});

test("a daemon compacts the store that it serves, and goes on in the new file", async () => {
  await fill();
  const file = join(data, "data.mdb");
  const before = statSync(file);
  const daemon = daemons.add(data);
  await daemons.serve(daemon, async (store) => {
    const { code, out, err } = await bolthole("compact", "--data", data);
    expect([code, err]).toEqual([EXIT.CLEAN, ""]);
    expect(out).toMatch(/^\d+\.\d MiB before, 0\.\d MiB after: 1 runtime, 1 record, \d+ request outcomes\n$/);
    const after = statSync(file);
    expect([after.ino === before.ino, after.mode & 0o777]).toEqual([false, 0o600]);
    expect(readFileSync(file).includes("deleted".repeat(100))).toBe(false);
    await store.persistInputState("rt", inputRow("again"));
    expect(await store.loadInputStates("rt")).toEqual([inputRow("again")]);
  });
  await daemons.serve(daemons.add(data), async (store) => {
    expect(await store.loadInputStates("rt")).toEqual([inputRow("again")]);
  });
});

test("a database, and a folder without a store are refused", async () => {
  await fill();
  const database = join(folder, "sessions.sqlite3");
  await daemons.serve(daemons.add(database, ["--engine", "sqlite"], `${database}.bolthole`), () => Promise.resolve());
  const file = await bolthole("compact", "--data", database);
  expect([file.code, file.err]).toEqual([EXIT.USAGE, expect.stringContaining("use VACUUM of SQLite")]);
  rmSync(join(data, "data.mdb"));
  const lost = await bolthole("compact", "--data", data);
  expect([lost.code, lost.err]).toEqual([EXIT.DAMAGED, expect.stringContaining("the data of store")]);
  const memory = join(folder, "memory");
  await daemons.serve(daemons.add(memory, ["--engine", "memory"]), () => Promise.resolve());
  const before = readdirSync(memory);
  const none = await bolthole("compact", "--data", memory);
  expect([none.code, none.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("there is no store at")]);
  expect(readdirSync(memory)).toEqual(before);
  const missing = await bolthole("compact", "--data", join(folder, "missing"));
  expect([missing.code, missing.err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("there is no store at")]);
});
