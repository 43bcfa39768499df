import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreFactory, StoreHandle } from "@bolthole/conformance";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { type Engine, MemoryEngine, createEngineStore } from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { type EngineName, capabilitiesOf } from "./daemon-stores.js";

/** Stores in this process, without client and daemon: for a quick look at the rules. */
export const inProcessStores = (engine: EngineName): StoreFactory => ({
  capabilities: capabilitiesOf(engine),
  createSite: () => {
    const folder = mkdtempSync(join(tmpdir(), "bolthole-replay-"));
    const openEngine = (): Promise<Engine> =>
      engine === "lmdb" ? LmdbEngine.open(folder) : Promise.resolve(new MemoryEngine());
    return Promise.resolve({
      open: async () => handleOf(await openEngine()),
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
