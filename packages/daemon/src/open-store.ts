import type { Limits } from "@bolthole/contract";
import { DEFAULT_LIMITS, type Engine, type EngineStore, MemoryEngine, createEngineStore } from "@bolthole/core";
import { DamagedStoreError, DiskFailureError, LmdbEngine, UnusableFolderError, openFailure } from "@bolthole/lmdb";
import { SqliteEngine, UnusableFileError } from "@bolthole/sqlite";
import type { Config } from "./config.js";
import { EXIT, StartupError } from "./exit-code.js";
import { parentOf, refuseSharedFolder } from "./folder/data-folder.js";
import type { KnownDamage } from "./known-damage.js";
import { VERSION } from "./version.js";

/** The engine that the settings name. `onFailure` is called once when the disk fails under a write. */
export async function openEngine(
  config: Config,
  onFailure: (cause: unknown) => void,
  damage: KnownDamage,
  signal?: AbortSignal,
): Promise<Engine> {
  switch (config.engine) {
    case "memory":
      return new MemoryEngine();
    case "sqlite":
      refuseSharedFolder(parentOf(config.data), "database folder");
      return SqliteEngine.open(config.data, { onFailure });
    case "lmdb":
      return LmdbEngine.open(config.data, {
        onFailure,
        quotaBytes: config.quota,
        check: { level: config.check, maxBytes: config.checkMaxSize, signal },
        onFinding: (finding) => {
          damage.add(finding);
        },
      });
  }
}

/** What can be said of the data, its folder or its disk is no fault of the program. */
export function startFailure(folder: string, error: unknown): unknown {
  const failure =
    error instanceof StartupError || error instanceof UnusableFileError ? error : openFailure(folder, error);
  if (failure instanceof UnusableFolderError || failure instanceof UnusableFileError) {
    return new StartupError(EXIT.DATA_FOLDER, failure.message, failure);
  }
  if (failure instanceof DamagedStoreError) return new StartupError(EXIT.DAMAGED, failure.message, failure);
  if (failure instanceof DiskFailureError) return new StartupError(EXIT.DISK, failure.message, failure);
  return failure;
}

export const createStore = (engine: Engine, config: Config): EngineStore =>
  createEngineStore(engine, {
    limits: limitsOf(config),
    outcomeRetention: { maxAgeSeconds: config.outcomeMaxAge / 1000, maxCount: config.outcomeMaxCount },
    serverVersion: VERSION,
    reusesChunkBuffers: true,
    documentMemoryBytes: config.documentMemory,
    checks: { incremental: config.incrementalChecks, memoryBytes: config.checkMemory },
  });

const limitsOf = (config: Config): Limits => ({
  ...DEFAULT_LIMITS,
  requestBytes: config.maxRequestSize,
  requestBytesInFlight: config.maxRequestsSize,
  requestsInFlight: config.maxRequests,
  documentBytes: config.maxDocumentSize,
  runtimeIdBytes: config.maxRuntimeIdSize,
  ...(config.quota === undefined ? {} : { quotaBytes: config.quota }),
});
