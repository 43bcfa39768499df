import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { createEngineStore, repairStoreManifest } from "@bolthole/core";
import { SqliteConnection } from "./connection.js";
import { putRawRow } from "./meerkat-file.js";
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

async function change(sql: string, ...values: (string | Buffer)[]): Promise<void> {
  const connection = await SqliteConnection.open(join(folder, "store.sqlite3"));
  try {
    await (await connection.prepare(sql)).run(...values);
  } finally {
    await connection.close();
  }
}

test("notes with an unknown form count as absent: their rows become external rows, and can be read and written", async () => {
  await withStore(async (store) => {
    await store.commitSessionSnapshot("r", { sessionSnapshot: document, profile: "opaque" });
  });
  // The first byte is the form of a value. The second byte of a snapshot's note is its profile.
  await change("UPDATE bolthole_rows SET value = ?1 WHERE name = ?2", Buffer.alloc(14, 9), "snapshot");
  await change("UPDATE bolthole_rows SET value = ?1 WHERE name = ?2", Buffer.alloc(49, 9), "head");
  await withStore(async (store) => {
    expect(Buffer.from((await store.loadSessionSnapshot("r")) ?? []).equals(document)).toBe(true);
    await store.clearSessionSnapshot("r");
    expect(await store.loadSessionSnapshot("r")).toBeUndefined();
  });
});

test("a damaged store manifest refuses commits as DAMAGED_RECORD, and the store continues", async () => {
  await withStore(async (store) => {
    await store.commitSessionSnapshot("r", { sessionSnapshot: document, profile: "opaque" });
  });
  await change("UPDATE bolthole_rows SET checksum = checksum + 1 WHERE name = ?1", "tally");
  await withStore(async (store) => {
    const commit = store.clearSessionSnapshot("r");
    await expect(commit).rejects.toMatchObject({ reason: "DAMAGED_RECORD", applied: "no" });
    expect(Buffer.from((await store.loadSessionSnapshot("r")) ?? []).equals(document)).toBe(true);
  });
});

test("a damaged store manifest is counted again from the rows, and commits work", async () => {
  await withStore(async (store) => {
    await store.commitSessionSnapshot("r", { sessionSnapshot: document, profile: "opaque" });
  });
  await change("UPDATE bolthole_rows SET checksum = checksum + 1 WHERE name = ?1", "tally");
  const recounts: (readonly string[])[] = [];
  const engine = await SqliteEngine.open(join(folder, "store.sqlite3"));
  try {
    const options = {
      nowMs: Date.now(),
      dryRun: false,
      onRecount: ({ differences }: { differences: readonly string[] }) => {
        recounts.push(differences);
      },
    };
    expect(await repairStoreManifest(engine, options, true)).toBe(true);
    expect(recounts[0]?.[0]).toBe("the row of the store manifest is damaged");
    expect(await repairStoreManifest(engine, options, true)).toBe(false);
  } finally {
    await engine.close();
  }
  await withStore(async (store) => {
    await store.clearSessionSnapshot("r");
    expect(await store.loadSessionSnapshot("r")).toBeUndefined();
  });
});

test("a database of the reference without a manifest is not damaged, and one that lost its manifest is", async () => {
  const file = join(folder, "external.sqlite3");
  const recounts = async (): Promise<(readonly string[])[]> => {
    const found: (readonly string[])[] = [];
    const engine = await SqliteEngine.open(file);
    try {
      const onRecount = ({ differences }: { differences: readonly string[] }): void => void found.push(differences);
      await repairStoreManifest(engine, { nowMs: Date.now(), dryRun: false, onRecount }, true);
    } finally {
      await engine.close();
    }
    return found;
  };
  expect(await recounts()).toEqual([]);
  await putRawRow(file, { table: "runtime_session_snapshots", key: { runtime_id: "r" }, value: Buffer.from("{}") });
  expect(await recounts()).toEqual([]);
  const engine = await SqliteEngine.open(file);
  await createEngineStore(engine).commitSessionSnapshot({
    runtimeId: "other",
    sessionDelta: { sessionSnapshot: document, profile: "opaque" },
  });
  await engine.close();
  const connection = await SqliteConnection.open(file);
  await connection.exec("DELETE FROM bolthole_rows WHERE name = 'tally'");
  await connection.close();
  expect(await recounts()).toHaveLength(1);
});
