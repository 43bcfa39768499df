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
  const connection = await SqliteConnection.open(file);
  for (const sql of statements) await connection.exec(sql);
  await connection.close();
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

test.each([
  [
    "a trigger on a table of Meerkat",
    ["CREATE TRIGGER theirs AFTER INSERT ON runtime_states BEGIN DELETE FROM runtime_input_states; END"],
    "a trigger: theirs at the table runtime_states",
  ],
  [
    "a trigger on a table of ours",
    ["CREATE TRIGGER theirs AFTER UPDATE ON bolthole_store BEGIN SELECT 1; END"],
    "a trigger: theirs at the table bolthole_store",
  ],
  [
    "a trigger that names its table in other letters",
    ["CREATE TRIGGER theirs AFTER INSERT ON RUNTIME_STATES BEGIN SELECT 1; END"],
    "a trigger: theirs at the table RUNTIME_STATES",
  ],
  [
    "a view in the place of a table of ours",
    ["DROP TABLE bolthole_store", "CREATE VIEW Bolthole_Store AS SELECT 1 AS format"],
    "a view: Bolthole_Store",
  ],
  [
    "an index over an expression",
    ["CREATE INDEX theirs ON runtime_states (length(runtime_id))"],
    "an index over an expression: theirs",
  ],
  [
    "an index over some rows",
    ["CREATE INDEX theirs ON runtime_states (runtime_id) WHERE length(runtime_id) > 1"],
    "an index over an expression: theirs",
  ],
  [
    "a constraint",
    [
      "DROP TABLE runtime_states",
      "CREATE TABLE runtime_states (runtime_id TEXT PRIMARY KEY, runtime_state_json BLOB NOT NULL CHECK (length(runtime_id) > 0))",
    ],
    "a table with a constraint or a generated column: runtime_states",
  ],
  [
    "a generated column",
    ["ALTER TABLE runtime_states ADD COLUMN theirs AS (length(runtime_id)) VIRTUAL"],
    "a table with a constraint or a generated column: runtime_states",
  ],
  [
    "a virtual table in the place of a table",
    ["DROP TABLE runtime_states", "CREATE VIRTUAL TABLE runtime_states USING fts5(runtime_id, state)"],
    "a virtual table: runtime_states",
  ],
])("a database with %s is refused, to write and to read", async (_name, statements, text) => {
  await (await SqliteEngine.open(file)).close();
  await create(...statements);
  const expected = { name: "UnusableFileError", message: expect.stringContaining(text) as string };
  expect(await refusal()).toMatchObject(expected);
  await expect(MeerkatFile.openToRead(file)).rejects.toMatchObject(expected);
  await expect(MeerkatFile.openToWrite(file)).rejects.toMatchObject(expected);
});

test("an index over columns alone is accepted", async () => {
  await (await SqliteEngine.open(file)).close();
  await create("CREATE UNIQUE INDEX theirs ON runtime_input_states (input_id, runtime_id DESC)");
  await (await SqliteEngine.open(file)).close();
});

test("a trigger on another table is none of ours", async () => {
  await (await SqliteEngine.open(file)).close();
  await create("CREATE TABLE photos (id)", "CREATE TRIGGER theirs AFTER INSERT ON photos BEGIN SELECT 1; END");
  await (await SqliteEngine.open(file)).close();
});

test("the schema of a file is not trusted, whichever way it is opened", async () => {
  await (await SqliteEngine.open(file)).close();
  for (const open of [
    () => SqliteConnection.open(file),
    () => SqliteConnection.openToRead(file, "locked"),
    () => SqliteConnection.openToRead(file, "immutable"),
    () => SqliteConnection.openToRead(file, "recover"),
  ]) {
    const connection = await open();
    const valueOf = async (name: string): Promise<unknown> =>
      (await (await connection.prepare(`PRAGMA ${name}`)).get())?.[0];
    expect([await valueOf("trusted_schema"), await valueOf("cell_size_check")]).toEqual([0, 1]);
    await connection.close();
  }
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
  const connection = await SqliteConnection.open(file);
  const names = await (
    await connection.prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name")
  ).all();
  await connection.close();
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
