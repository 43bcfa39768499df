import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type StoreFactory, type StoreHandle, holdable } from "@bolthole/conformance";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { DEFAULT_LIMITS, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "../lmdb-engine.js";

/** Returns stores in temporary folders for the conformance suite. */
export const lmdbStores = (): StoreFactory => ({
  capabilities: {
    durable: true,
    versions: true,
    transcriptRules: true,
    fullSequences: true,
    holds: true,
    rawRows: false,
    transfers: true,
  },
  createSite: async () => {
    const folder = await mkdtemp(join(tmpdir(), "bolthole-lmdb-"));
    return { open: () => open(folder), remove: () => rm(folder, { recursive: true }) };
  },
});

async function open(folder: string): Promise<StoreHandle> {
  const engine = holdable(await LmdbEngine.open(folder), "commit");
  const versioned = createEngineStore(engine.target, {
    limits: {
      ...DEFAULT_LIMITS,
      documentBytes: 8 * 1024 * 1024,
      operationSnapshotBytes: 8 * 1024 * 1024,
      inputRowBytes: 4 * 1024 * 1024,
    },
  });
  const store = new RuntimeStoreAdapter(versioned, engine.target.storeId);
  return { store, versioned, transfer: versioned, hold: engine.hold, close: () => engine.target.close() };
}
