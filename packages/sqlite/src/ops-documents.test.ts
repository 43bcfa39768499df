import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { opsWithResults } from "@bolthole/conformance";
import type { VersionedStore } from "@bolthole/contract";
import { ReadSet, createEngineStore, isOpsFacts } from "@bolthole/core";
import { writeOpsSnapshot } from "@bolthole/json";
import { SqliteConnection } from "./connection.js";
import { SqliteEngine } from "./sqlite-engine.js";

const runtime = { runtimeId: "rt" } as const;
const KEY = { table: "ops", ...runtime } as const;
const LARGE = writeOpsSnapshot(opsWithResults(4, 40_000));
const OTHER = writeOpsSnapshot(opsWithResults(5, 40_000));

let folder: string;
let file: string;
let engine: SqliteEngine;
let store: VersionedStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-ops-"));
  file = join(folder, "store.sqlite3");
  engine = await SqliteEngine.open(file);
  store = createEngineStore(engine);
});
afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

async function loaded(): Promise<{ readonly json: Buffer; readonly version: string | undefined }> {
  const found = await store.loadOpsLifecycleJson(runtime);
  const chunks: Uint8Array[] = [];
  for await (const chunk of found?.chunks ?? []) chunks.push(chunk);
  return { json: Buffer.concat(chunks), version: found?.version };
}

/** Runs a statement as another program. */
async function asMeerkat(sql: string, ...values: Buffer[]): Promise<unknown> {
  const connection = await SqliteConnection.open(file);
  try {
    const statement = await connection.prepare(sql);
    return sql.startsWith("SELECT") ? (await statement.get())?.[0] : await statement.run(...values);
  } finally {
    await connection.close();
  }
}

test("a large operation snapshot is one blob in the table of the reference", async () => {
  await store.persistOpsLifecycle({ ...runtime, opsDelta: { opsSnapshot: LARGE } });
  expect(await asMeerkat("SELECT state_json FROM runtime_ops_lifecycle")).toEqual(LARGE);
  expect(isOpsFacts((await engine.view((view) => view.get(KEY)))?.value ?? Buffer.of())).toBe(true);
});

test("a large operation snapshot that Meerkat has written is loaded, and has another version", async () => {
  await store.persistOpsLifecycle({ ...runtime, opsDelta: { opsSnapshot: LARGE } });
  const { version = "" } = await loaded();
  await asMeerkat("UPDATE runtime_ops_lifecycle SET state_json = ?1", OTHER);
  const found = await loaded();
  expect(found.json.equals(OTHER)).toBe(true);
  expect(found.version).not.toBe(version);
  const patch = { baseVersion: version, resultLength: 1, resultCrc32: 0, pieces: [{ offset: 0, length: 1 }] };
  await expect(store.persistOpsLifecycle({ ...runtime, opsDelta: { patch } })).rejects.toMatchObject({
    reason: "BASE_NOT_CURRENT",
  });
  await asMeerkat("UPDATE runtime_ops_lifecycle SET state_json = ?1", LARGE);
  expect(await loaded()).toEqual({ json: LARGE, version });
});

test("a large operation snapshot of an older version keeps its version", async () => {
  const reads = new ReadSet();
  const handle = reads.add(KEY);
  const sequence = await engine.commit({
    reads,
    bytes: LARGE.length,
    decide: (_rows, next) => {
      // The JSON is the value of the row, whatever its length.
      const checksum = crc32(LARGE, crc32(`ops rt ${String(next)}`));
      const row = { sequence: next, checksum, value: LARGE };
      return { writes: [{ handle, row }], result: next, freesSpace: false };
    },
  });
  expect(await loaded()).toEqual({ json: LARGE, version: `${engine.epoch}.${sequence}` });
});
