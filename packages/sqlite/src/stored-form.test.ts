import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteConnection } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";
import { ReadSet, type Row, type RowKey } from "@bolthole/core";

/*
 * The stored form of our own table is part of the product: a later version must read the notes that this one wrote. A
 * failure here means that the format version must be raised.
 */

const INPUT_ID = "0198f01a-0000-7000-8000-000000000001";
const RUN_ID = "0198f0a0-0000-7000-8000-0000000000c1";
const REQUEST_ID = "0198f0a0-0000-7000-8000-00000000000a";

const KEYS: readonly RowKey[] = [
  { table: "storeManifest" },
  { table: "oauth" },
  { table: "outcome", requestId: REQUEST_ID },
  { table: "runtimeManifest", runtimeId: "rt" },
  { table: "ops", runtimeId: "rt" },
  { table: "input", runtimeId: "rt", inputId: INPUT_ID },
  { table: "receipt", runtimeId: "rt", runId: RUN_ID, sequence: 2n ** 64n - 1n },
];

test("each kind of row has its note under a fixed name, with its value only where the reference has no column", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-form-"));
  const file = join(folder, "store.sqlite3");
  try {
    const engine = await SqliteEngine.open(file);
    const reads = new ReadSet();
    const handles = KEYS.map((key) => reads.add(key));
    await engine.commit({
      reads,
      bytes: 0,
      decide: (_rows, sequence) => {
        const row: Row = { sequence, checksum: 7, value: Buffer.from("value") };
        return { writes: handles.map((handle) => ({ handle, row })), result: undefined, freesSpace: false };
      },
    });
    await engine.close();
    const connection = await SqliteConnection.open(file);
    const select = await connection.prepare(
      "SELECT runtime_id, name, id, sequence, checksum, value FROM bolthole_rows ORDER BY runtime_id, name",
    );
    const notes = (await select.all()).map((note) =>
      note.map((column) => (Buffer.isBuffer(column) ? column.toString() : column)),
    );
    await connection.close();
    expect(notes).toEqual([
      ["", "oauth", "", 1, 7, null],
      ["", "outcome", REQUEST_ID, 1, 7, "value"],
      ["", "tally", "", 1, 7, "value"],
      ["rt", "head", "", 1, 7, "value"],
      ["rt", "input", INPUT_ID, 1, 7, null],
      ["rt", "ops", "", 1, 7, null],
      ["rt", "receipt", `${RUN_ID} 9223372036854775807`, 1, 7, null],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
