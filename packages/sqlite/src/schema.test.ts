import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteConnection } from "./connection.js";
import { MeerkatFile } from "./meerkat-file.js";
import { SqliteEngine } from "./sqlite-engine.js";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-schema-"));
  file = join(folder, "file");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function create(...statements: readonly string[]): Promise<void> {
  const connection = SqliteConnection.open(file);
  for (const sql of statements) await connection.exec(sql);
  connection.close();
}

/** Opens the file, which must fail without changing it, and returns the error. */
async function refusal(): Promise<unknown> {
  const before = readFileSync(file);
  const error: unknown = await SqliteEngine.open(file).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(readFileSync(file).equals(before)).toBe(true);
  return error;
}

test("a file that is not a database is refused and not changed", async () => {
  writeFileSync(file, "This is a text file and not a database. ".repeat(100));
  expect(await refusal()).toMatchObject({
    name: "UnusableFileError",
    message: expect.stringContaining("not a SQLite database") as string,
  });
});

test("a database of another program is refused, and the error names its tables and the expected ones", async () => {
  await create("CREATE TABLE photos (id INTEGER PRIMARY KEY)");
  expect(await refusal()).toMatchObject({
    name: "UnusableFileError",
    message: expect.stringMatching(/expected the tables runtime_input_states.*found photos/) as string,
  });
});

test("a database whose tables have other columns is refused", async () => {
  await (await SqliteEngine.open(file)).close();
  await create("ALTER TABLE runtime_states ADD COLUMN more TEXT");
  expect(await refusal()).toMatchObject({
    name: "UnusableFileError",
    message: expect.stringMatching(/expected the columns .* in runtime_states, found .*more TEXT/) as string,
  });
});

test("tables of an unknown Bolthole format are refused", async () => {
  await (await SqliteEngine.open(file)).close();
  for (const format of [999, 0]) {
    await create(`UPDATE bolthole_store SET format = ${format}`);
    expect(await refusal()).toMatchObject({
      name: "UnusableFileError",
      message: expect.stringContaining(`format ${format}, but this version of Bolthole reads only format 1`) as string,
    });
  }
});

test.each([
  ["the engine", (path: string) => SqliteEngine.open(path)],
  ["an export", (path: string) => MeerkatFile.openToWrite(path)],
])("a path that cannot be a database is refused by %s", async (_user, open) => {
  writeFileSync(file, "");
  for (const path of [folder, join(file, "file"), join(folder, "missing", "file"), "/proc/x/y"]) {
    await expect(open(path)).rejects.toMatchObject({
      name: "UnusableFileError",
      message: expect.stringContaining(path) as string,
    });
  }
});

test("a folder cannot be imported", async () => {
  await expect(MeerkatFile.openToRead(folder)).rejects.toMatchObject({ name: "UnusableFileError" });
});

test("an empty file gets the tables of the reference and of Bolthole, and keeps its identity", async () => {
  writeFileSync(file, "");
  const first = await SqliteEngine.open(file);
  await first.close();
  const second = await SqliteEngine.open(file);
  await second.close();
  expect([second.storeId, second.epoch]).toEqual([first.storeId, first.epoch]);
  expect(existsSync(file)).toBe(true);
  const connection = SqliteConnection.open(file);
  const names = await (
    await connection.prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name")
  ).all();
  connection.close();
  expect(names.flat()).toEqual([
    "bolthole_rows",
    "bolthole_store",
    "runtime_auth_oauth_flow_state",
    "runtime_boundary_receipts",
    "runtime_input_states",
    "runtime_ops_lifecycle",
    "runtime_session_snapshots",
    "runtime_states",
    "sessions",
    "sessions_updated_idx",
  ]);
});
