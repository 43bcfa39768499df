import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SqliteConnection } from "./connection.js";
import { ReadOnlyFile } from "./read-only-file.js";
import { SqliteEngine } from "./sqlite-engine.js";
import { DatabaseProcess } from "./testing/database-process.js";
import { FOREIGN_RUNTIMES, FOREIGN_STATES, makeForeignDatabase } from "./testing/foreign-databases.js";

let folder: string;
let other: DatabaseProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-read-only-"));
});
afterEach(async () => {
  await other?.kill();
  other = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const count = async (connection: SqliteConnection): Promise<number> => {
  const statement = await connection.prepare("SELECT count(*) FROM runtime_states");
  return Number((await statement.all())[0]?.[0]);
};
const insert = (runtimeId: string): string =>
  `INSERT INTO runtime_states SELECT '${runtimeId}', runtime_state_json FROM runtime_states LIMIT 1`;

test("a file that was complete when it was opened is read again after another process wrote it", async () => {
  const path = await makeForeignDatabase(folder, "closed");
  const file = await ReadOnlyFile.open(path);
  expect(await file.read(count)).toBe(FOREIGN_RUNTIMES);
  other = new DatabaseProcess(path);
  await other.exec(insert("in the log"));
  expect(await file.read(count)).toBe(FOREIGN_RUNTIMES + 1);
  await other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  await other.exec(insert("in the log again"));
  expect(await file.read(count)).toBe(FOREIGN_RUNTIMES + 2);
  await file.close();
});

test("a read is repeated when another process moved its log into the file meanwhile", async () => {
  const path = await makeForeignDatabase(folder, "closed");
  const file = await ReadOnlyFile.open(path);
  let calls = 0;
  const found = await file.read(async (connection) => {
    calls += 1;
    const before = await count(connection);
    if (calls === 1) {
      other = new DatabaseProcess(path);
      await other.exec(insert("meanwhile"));
      await other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    return before;
  });
  expect([calls, found]).toEqual([2, FOREIGN_RUNTIMES + 1]);
  await file.close();
});

test("a transaction sees one state while another process writes and tries to reuse its log", async () => {
  const path = await makeForeignDatabase(folder, "crashed");
  other = new DatabaseProcess(path);
  await other.exec(insert("before"));
  const file = await ReadOnlyFile.open(path);
  const seen = await file.read(async (connection) => {
    await connection.exec("BEGIN");
    const first = await count(connection);
    await other?.exec(insert("meanwhile"));
    await other?.exec("PRAGMA wal_checkpoint(PASSIVE)");
    const second = await count(connection);
    await connection.exec("COMMIT");
    return [first, second, await count(connection)];
  });
  expect(seen).toEqual([FOREIGN_RUNTIMES + 1, FOREIGN_RUNTIMES + 1, FOREIGN_RUNTIMES + 2]);
  await file.close();
});

test.each(FOREIGN_STATES)("a link to a database in the state %s leads to all of its rows", async (state) => {
  const path = await makeForeignDatabase(folder, state);
  const links = join(folder, "links");
  mkdirSync(links);
  symlinkSync(path, join(links, "a link, 100% & more?#.sqlite3"));
  const file = await ReadOnlyFile.open(join(links, "a link, 100% & more?#.sqlite3"));
  expect(await file.read(count)).toBe(FOREIGN_RUNTIMES);
  const retired = await file.read(async (connection) => {
    const sql = "SELECT count(*) FROM runtime_states WHERE CAST(runtime_state_json AS TEXT) NOT LIKE '%idle%'";
    return (await (await connection.prepare(sql)).all())[0]?.[0];
  });
  expect(retired).toBe(0);
  await file.close();
  expect(readdirSync(links)).toHaveLength(1);
});

test("a connection that reads cannot write", async () => {
  const file = await ReadOnlyFile.open(await makeForeignDatabase(folder, "rollback mode"));
  await expect(file.read((connection) => connection.exec("DELETE FROM runtime_states"))).rejects.toMatchObject({
    message: expect.stringContaining("attempt to write a readonly database") as string,
  });
  await file.close();
});

test("a closed file can be written by the same process", async () => {
  const path = await makeForeignDatabase(folder, "crashed");
  const file = await ReadOnlyFile.open(path);
  await file.read(count);
  await file.close();
  const engine = await SqliteEngine.open(path);
  await engine.close();
});
