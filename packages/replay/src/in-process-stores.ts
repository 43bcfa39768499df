import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreFactory, StoreHandle } from "@bolthole/conformance";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { type Engine, MemoryEngine, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { SqliteEngine } from "@bolthole/sqlite";
import { type EngineName, capabilitiesOf, rawRowsOf } from "./daemon-stores.js";

/** Stores in this process, without client and daemon: for a quick look at the rules. */
export const inProcessStores = (engine: EngineName): StoreFactory => ({
  capabilities: capabilitiesOf(engine),
  createSite: () => {
    const folder = mkdtempSync(join(tmpdir(), "bolthole-replay-"));
    const file = join(folder, "store.sqlite3");
    const openEngine = async (): Promise<Engine> => {
      if (engine === "memory") return new MemoryEngine();
      return engine === "sqlite" ? SqliteEngine.open(file) : LmdbEngine.open(folder);
    };
    return Promise.resolve({
      open: async () => ({ ...handleOf(await openEngine()), putRawRow: rawRowsOf(engine, file) }),
      remove: () => {
        rmSync(folder, { recursive: true, force: true });
        return Promise.resolve();
      },
    });
  },
});

function handleOf(engine: Engine): StoreHandle {
  const versioned = createEngineStore(engine);
  const store = new RuntimeStoreAdapter(versioned, engine.storeId);
  return { store, versioned, close: () => engine.close() };
}
