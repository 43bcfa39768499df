import { type StoreFactory, holdable } from "@bolthole/conformance";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { DEFAULT_LIMITS, type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";

/** Makes stores in memory for the suite. `alter` may wrap each store. */
export const memoryStores = (alter: (store: EngineStore) => EngineStore = (store) => store): StoreFactory => ({
  capabilities: {
    durable: false,
    versions: true,
    transcriptRules: true,
    fullSequences: true,
    holds: true,
    rawRows: false,
    transfers: true,
  },
  createSite: () => {
    const engine = holdable(new MemoryEngine(), "commit");
    const limits = {
      ...DEFAULT_LIMITS,
      documentBytes: 8 * 1024 * 1024,
      operationSnapshotBytes: 8 * 1024 * 1024,
      inputRowBytes: 4 * 1024 * 1024,
    };
    const versioned = alter(createEngineStore(engine.target, { limits }));
    const store = new RuntimeStoreAdapter(versioned, engine.target.storeId);
    const handle = { store, versioned, transfer: versioned, hold: engine.hold, close: () => Promise.resolve() };
    return Promise.resolve({ open: () => Promise.resolve(handle), remove: () => engine.target.close() });
  },
});
