import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MeerkatFile } from "../meerkat-file.js";
import { DatabaseProcess } from "./database-process.js";

/**
 * The states in which another program can leave the files of a database.
 *
 * `closed`: WAL mode, everything in the one file. `crashed`: rows only in the log. `without index`: the same, and the index of the log
 * is missing. `rollback mode`: everything in the one file, without WAL mode. `hot journal`: a crash in the middle of a transaction in
 * rollback mode, so that the file has half of it.
 */
export const FOREIGN_STATES = ["closed", "crashed", "without index", "rollback mode", "hot journal"] as const;
export type ForeignState = (typeof FOREIGN_STATES)[number];

const ROWS = 200;
const lifecycle = (state: string): string =>
  `CAST('{"record_version":1,"runtime_state":"${state}","binding":{}}' AS BLOB)`;

/** Makes a database `sessions.sqlite3` in `folder`, and returns its path. Each of its runtimes has one lifecycle record: "idle". */
export async function makeForeignDatabase(folder: string, state: ForeignState): Promise<string> {
  const name = "sessions.sqlite3";
  const workplace = mkdtempSync(join(folder, "made-"));
  const file = join(workplace, name);
  await makeEmpty(join(workplace, "empty"), file);
  // The connections of one process share their locks and modes, so another one is used, as it is in use.
  const other = new DatabaseProcess(file);
  const copy = (...suffixes: readonly string[]): void => {
    for (const suffix of suffixes) copyFileSync(file + suffix, join(folder, name + suffix));
  };
  try {
    await other.exec(
      `INSERT INTO runtime_states SELECT 'rt ' || value, ${lifecycle("idle")} FROM generate_series(1, ${ROWS})`,
    );
    if (state === "crashed") copy("", "-wal", "-shm");
    if (state === "without index") copy("", "-wal");
    await other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    if (state === "closed") copy("");
    if (state === "rollback mode" || state === "hot journal") {
      await other.exec("PRAGMA journal_mode=DELETE");
      if (state === "rollback mode") copy("");
      // With so small a cache, changed pages are written before the commit.
      await other.exec("PRAGMA cache_size=1");
      await other.exec("BEGIN IMMEDIATE");
      await other.exec(`UPDATE runtime_states SET runtime_state_json = ${lifecycle("retired")}`);
      await other.exec("DELETE FROM runtime_states WHERE runtime_id = 'rt 1'");
      if (state === "hot journal") copy("", "-journal");
    }
  } finally {
    await other.kill();
    rmSync(workplace, { recursive: true });
  }
  return join(folder, name);
}

/** The number of runtimes of such a database. */
export const FOREIGN_RUNTIMES = ROWS;

async function makeEmpty(scratch: string, file: string): Promise<void> {
  const created = await MeerkatFile.openToWrite(scratch);
  await created.close();
  copyFileSync(scratch, file);
}
