import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteConnection } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-foreign-"));
  file = join(folder, "file");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function make(...statements: readonly string[]): Promise<void> {
  const connection = SqliteConnection.open(file);
  for (const sql of statements) await connection.exec(sql);
  connection.close();
}

async function refusal(): Promise<unknown> {
  const before = readFileSync(file);
  const error: unknown = await SqliteEngine.open(file).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(readFileSync(file).equals(before)).toBe(true);
  return error;
}

test("a file that is no database is refused, and not touched", async () => {
  writeFileSync(file, "a letter to somebody, and not a database at all. ".repeat(100));
  expect(await refusal()).toMatchObject({
    name: "UnusableFile",
    message: expect.stringContaining("not a SQLite database") as string,
  });
});

test("a database of somebody else's is refused, and what it has is named", async () => {
  await make("CREATE TABLE photos (id INTEGER PRIMARY KEY)");
  expect(await refusal()).toMatchObject({
    name: "UnusableFile",
    message: expect.stringMatching(/photos.*runtime_input_states/) as string,
  });
});

test("a database whose tables have other columns is refused", async () => {
  await (await SqliteEngine.open(file)).close();
  await make("ALTER TABLE runtime_states ADD COLUMN more TEXT");
  expect(await refusal()).toMatchObject({
    name: "UnusableFile",
    message: expect.stringContaining("runtime_states") as string,
  });
});

test("tables of a newer Bolthole are refused", async () => {
  await (await SqliteEngine.open(file)).close();
  await make("UPDATE bolthole_store SET format = 999");
  expect(await refusal()).toMatchObject({
    name: "UnusableFile",
    message: expect.stringContaining("format 999") as string,
  });
});

test("a folder is refused", async () => {
  await expect(SqliteEngine.open(folder)).rejects.toMatchObject({ name: "UnusableFile" });
});

test("an empty file is taken, and keeps its identity; the schema is the reference's and ours", async () => {
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
