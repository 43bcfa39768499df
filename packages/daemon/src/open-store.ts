import type { Limits } from "@bolthole/contract";
import { DEFAULT_LIMITS, type Engine, type EngineStore, MemoryEngine, createEngineStore } from "@bolthole/core";
import { LmdbEngine, UnusableFolder } from "@bolthole/lmdb";
import { SqliteEngine, UnusableFile } from "@bolthole/sqlite";
import type { Config } from "./config.js";
import { EXIT, StartFailure } from "./exit-code.js";
import { parentOf, refuseSharedFolder } from "./folder/data-folder.js";
import { VERSION } from "./version.js";

/** The engine that the settings name. `onFailure` is called once when the disk fails under a write. */
export async function openEngine(config: Config, onFailure: (cause: unknown) => void): Promise<Engine> {
  try {
    switch (config.engine) {
      case "memory":
        return new MemoryEngine();
      case "sqlite":
        refuseSharedFolder(parentOf(config.data), "database folder");
        return await SqliteEngine.open(config.data, { onFailure });
      case "lmdb":
        return await LmdbEngine.open(config.data, { onFailure });
    }
  } catch (error) {
    if (error instanceof UnusableFolder || error instanceof UnusableFile) {
      throw new StartFailure(EXIT.DATA_FOLDER, error.message, error);
    }
    throw error;
  }
}

export const createStore = (engine: Engine, config: Config): EngineStore =>
  createEngineStore(engine, {
    limits: limitsOf(config),
    outcomeRetention: { maxAgeSeconds: config.outcomeMaxAge / 1000, maxCount: config.outcomeMaxCount },
    serverVersion: VERSION,
  });

const limitsOf = (config: Config): Limits => ({
  ...DEFAULT_LIMITS,
  requestBytes: config.maxRequestSize,
  requestBytesInFlight: config.maxRequestsSize,
  requestsInFlight: config.maxRequests,
  documentBytes: config.maxDocumentSize,
  runtimeIdBytes: config.maxRuntimeIdSize,
});
