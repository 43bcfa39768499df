import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportContents, importContents } from "@bolthole/contract";
import { type BoltholeStore, connect } from "@bolthole/client";
import { opsWithResults } from "@bolthole/conformance";
import { writeOpsSnapshot } from "@bolthole/json";
import { RemoteMaintenance } from "./cli/remote-maintenance.js";
import { EXIT } from "./exit-code.js";
import { Daemons, bolthole } from "./testing/daemons.js";

/*
 * The largest operation snapshot that the reference writes: it keeps 256 completed operations, with each result three times. CI
 * runs a short form. The long form has results of 200 kB, which make 154 MB of JSON, and takes minutes:
 *
 *   LARGEST_RESULT_BYTES=200000 npx jest packages/daemon/dist/largest-operations.test.js
 */
const RESULT_BYTES = Number(process.env.LARGEST_RESULT_BYTES ?? "20000");
const KEPT_OPERATIONS = 256;
const RUNTIME = "agent:largest";
const OPTIONS = { timeoutMs: 240_000 };

let folder: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-largest-"));
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const LARGEST = opsWithResults(KEPT_OPERATIONS, RESULT_BYTES);
const JSON_BYTES = writeOpsSnapshot(LARGEST);

async function jsonOf(store: BoltholeStore, runtimeId = RUNTIME): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const loaded = await store.versioned.loadOpsLifecycleJson({ runtimeId });
  for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const isLargest = async (store: BoltholeStore, runtimeId = RUNTIME): Promise<boolean> =>
  JSON_BYTES.equals(await jsonOf(store, runtimeId));

/** Starts a daemon, and stops it after the work. */
async function served(
  data: string,
  engine: "lmdb" | "sqlite" | "memory",
  work: (store: BoltholeStore, transfer: RemoteMaintenance) => Promise<void>,
): Promise<void> {
  const daemon = daemons.add(data, ["--engine", engine], engine === "sqlite" ? `${data}.bolthole` : undefined);
  await daemon.start();
  const store = await connect(daemon.target, OPTIONS);
  const transfer = new RemoteMaintenance(daemon.target);
  try {
    await work(store, transfer);
  } finally {
    transfer.close();
    await store.close();
    await daemon.stop();
  }
}

test.each(["lmdb", "sqlite", "memory"] as const)(
  "the largest operation snapshot is persisted, loaded, exported, imported and deleted in %s",
  async (engine) => {
    await served(join(folder, "data"), engine, async (store, transfer) => {
      await store.persistOpsLifecycle(RUNTIME, opsWithResults(KEPT_OPERATIONS - 1, RESULT_BYTES), OPTIONS);
      // One result more: a patch.
      await store.persistOpsLifecycle(RUNTIME, LARGEST, OPTIONS);
      expect(await isLargest(store)).toBe(true);
      const loaded = await store.loadOpsLifecycle(RUNTIME, OPTIONS);
      expect(loaded && writeOpsSnapshot(loaded).equals(JSON_BYTES)).toBe(true);

      const contents = await exportContents(transfer, { runtimeId: RUNTIME });
      if (!contents) throw new Error("expected an exported runtime, found none");
      expect(JSON_BYTES.equals(contents.ops ?? Buffer.of())).toBe(true);
      const copy = { ...contents, runtimeId: "copy" };
      expect(await importContents(transfer, { contents: copy, overwrite: false, dryRun: false })).toBe("added");
      expect(await importContents(transfer, { contents: copy, overwrite: false, dryRun: false })).toBe("unchanged");
      expect(await isLargest(store, "copy")).toBe(true);

      await store.deleteOpsLifecycle(RUNTIME, OPTIONS);
      expect(await store.loadOpsLifecycle(RUNTIME, OPTIONS)).toBeUndefined();
      expect(await store.deleteRuntime("copy", OPTIONS)).toMatchObject({ hadOpsLifecycle: true });
      const page = await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" });
      expect(page.runtimes).toEqual([]);
    });
  },
);

test("the largest operation snapshot is verified, backed up, restored, and moved to a database of Meerkat and back", async () => {
  const data = join(folder, "data");
  await served(data, "lmdb", async (store) => {
    await store.persistOpsLifecycle(RUNTIME, LARGEST, OPTIONS);
    const verified = await bolthole("verify", "--data", data);
    expect([verified.code, verified.err]).toEqual([EXIT.CLEAN, ""]);
    expect((await bolthole("backup", join(folder, "backup"), "--data", data)).code).toBe(EXIT.CLEAN);
  });
  const restored = join(folder, "restored");
  expect((await bolthole("restore", join(folder, "backup"), "--data", restored)).code).toBe(EXIT.CLEAN);
  await served(restored, "lmdb", async (store) => {
    expect(await isLargest(store)).toBe(true);
  });
  const database = join(folder, "meerkat.sqlite3");
  expect((await bolthole("export", "meerkat", database, "--data", restored)).code).toBe(EXIT.CLEAN);
  await served(database, "sqlite", async (store) => {
    expect(await isLargest(store)).toBe(true);
  });
  const imported = join(folder, "imported");
  expect((await bolthole("import", "meerkat", database, "--data", imported)).code).toBe(EXIT.CLEAN);
  await served(imported, "lmdb", async (store) => {
    expect(await isLargest(store)).toBe(true);
  });
});
