import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { SqliteConnection } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-notes-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const document = Buffer.from("an opaque document");

async function withStore(work: (store: RuntimeStoreAdapter) => Promise<void>): Promise<void> {
  const engine = await SqliteEngine.open(join(folder, "store.sqlite3"));
  try {
    await work(new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId));
  } finally {
    await engine.close();
  }
}

test("notes with an unknown form count as absent: their rows become external rows, and can be read and written", async () => {
  await withStore(async (store) => {
    await store.commitSessionSnapshot("r", { sessionSnapshot: document, profile: "opaque" });
  });
  const connection = SqliteConnection.open(join(folder, "store.sqlite3"));
  // The first byte is the form of a value, the second one of a snapshot's note its profile.
  const update = await connection.prepare("UPDATE bolthole_rows SET value = ?1 WHERE name = ?2");
  await update.run(Buffer.alloc(14, 9), "snapshot");
  await update.run(Buffer.alloc(49, 9), "head");
  connection.close();
  await withStore(async (store) => {
    expect(Buffer.from((await store.loadSessionSnapshot("r")) ?? []).equals(document)).toBe(true);
    await store.clearSessionSnapshot("r");
    expect(await store.loadSessionSnapshot("r")).toBeUndefined();
  });
});
