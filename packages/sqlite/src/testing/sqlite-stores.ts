import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type StoreFactory, type StoreHandle, holdable } from "@bolthole/conformance";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { DEFAULT_LIMITS, createEngineStore } from "@bolthole/core";
import { putRawRow } from "../meerkat-file.js";
import { SqliteEngine } from "../sqlite-engine.js";

/** Returns stores in temporary files for the conformance suite. */
export const sqliteStores = (): StoreFactory => ({
  capabilities: {
    durable: true,
    versions: true,
    transcriptRules: true,
    fullSequences: false,
    holds: true,
    rawRows: true,
    transfers: true,
  },
  createSite: async () => {
    const folder = await mkdtemp(join(tmpdir(), "bolthole-sqlite-"));
    return { open: () => open(join(folder, "store.sqlite3")), remove: () => rm(folder, { recursive: true }) };
  },
});

async function open(file: string): Promise<StoreHandle> {
  const engine = holdable(await SqliteEngine.open(file), "commit");
  const versioned = createEngineStore(engine.target, {
    limits: {
      ...DEFAULT_LIMITS,
      documentBytes: 8 * 1024 * 1024,
      operationSnapshotBytes: 8 * 1024 * 1024,
      inputRowBytes: 4 * 1024 * 1024,
    },
  });
  const store = new RuntimeStoreAdapter(versioned, engine.target.storeId);
  return {
    store,
    versioned,
    transfer: versioned,
    hold: engine.hold,
    putRawRow: (row) => putRawRow(file, row),
    close: () => engine.target.close(),
  };
}
