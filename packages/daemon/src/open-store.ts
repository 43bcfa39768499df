import { dirname, join } from "node:path";
import type { Limits } from "@bolthole/contract";
import {
  DEFAULT_LIMITS,
  type Engine,
  type EngineStore,
  MemoryEngine,
  Scrub,
  createEngineStore,
  repairStoreManifest,
} from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { SqliteEngine } from "@bolthole/sqlite";
import { type Config, VERSION } from "./config.js";
import { controlFolderOf, refuseSharedFolder } from "./folder/data-folder.js";
import { damagedRuntimesFile } from "./folder/damaged-runtimes.js";
import { type StoreFiles, keepStoreId, refuseLostData } from "./folder/store-id.js";
import { scrubFile } from "./folder/state-files.js";
import { KnownDamage } from "./known-damage.js";
import type { Log } from "./log.js";

const PRUNE_INTERVAL_MS = 10_000;

/** A store over the configured engine. Close `engine` at the end. */
export interface OpenStore {
  readonly engine: Engine;
  /** Refuses the runtimes that are known to be damaged. */
  readonly store: EngineStore;
  readonly damage: KnownDamage;
}

/**
 * Opens the configured engine and a store over it. Damage that is found before the store is opened is logged. `onDiskFailure` is
 * called once when the disk fails during a write; `signal` aborts a start that is still checking the store.
 */
export async function openStore(
  config: Config,
  log: Log,
  onDiskFailure: (cause: unknown) => void,
  signal?: AbortSignal,
): Promise<OpenStore> {
  const damage = new KnownDamage(log);
  const files = storeFilesOf(config);
  refuseLostData(files);
  const engine = await openEngine(config, onDiskFailure, damage, signal);
  try {
    keepStoreId(files, engine.storeId);
    if (engine.durable) damage.keepIn(damagedRuntimesFile(files.controlFolder, engine.storeId));
    await recountUnreadable(engine, log);
  } catch (error) {
    await engine.close();
    throw error;
  }
  return { engine, store: createStore(engine, config, damage), damage };
}

/** Without a readable store manifest, every write would be refused. */
async function recountUnreadable(engine: Engine, log: Log): Promise<void> {
  await repairStoreManifest(
    engine,
    {
      nowMs: Date.now(),
      dryRun: false,
      onRecount: ({ differences }) => {
        log.error({ differences }, "the store manifest could not be read and was counted again");
      },
    },
    true,
  );
}

export function storeFilesOf(config: Pick<Config, "data" | "engine">): StoreFiles {
  const controlFolder = controlFolderOf(config);
  switch (config.engine) {
    case "memory":
      return { controlFolder, dataFile: undefined };
    case "sqlite":
      return { controlFolder, dataFile: config.data };
    case "lmdb":
      return { controlFolder, dataFile: join(config.data, "data.mdb") };
  }
}

async function openEngine(
  config: Config,
  onFailure: (cause: unknown) => void,
  damage: KnownDamage,
  signal: AbortSignal | undefined,
): Promise<Engine> {
  switch (config.engine) {
    case "memory":
      return new MemoryEngine();
    case "sqlite":
      refuseSharedFolder(dirname(config.data), "database folder");
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

const createStore = (engine: Engine, config: Config, damage: KnownDamage): EngineStore =>
  createEngineStore(engine, {
    limits: limitsOf(config),
    outcomeRetention: { maxAgeSeconds: config.outcomeMaxAge / 1000, maxCount: config.outcomeMaxCount },
    serverVersion: VERSION,
    damagedRuntimes: damage.runtimes,
    reusesChunkBuffers: true,
    documentMemoryBytes: config.documentMemory,
    checks: { incremental: config.incrementalChecks, memoryBytes: config.checkMemory },
  });

/** The engines sqlite and memory hold an upload in memory until its commit. */
const inputUploadBytesOf = (engine: Config["engine"]): number =>
  engine === "lmdb" ? DEFAULT_LIMITS.inputUploadBytes : 1024 ** 3;

const limitsOf = (config: Config): Limits => ({
  ...DEFAULT_LIMITS,
  requestBytes: config.maxRequestSize,
  requestBytesInFlight: config.maxRequestsSize,
  requestsInFlight: config.maxRequests,
  documentBytes: config.maxDocumentSize,
  operationSnapshotBytes: config.maxOpsSnapshotSize,
  typedOpsSnapshotBytes: Math.min(config.maxTypedOpsSnapshotSize, config.maxOpsSnapshotSize),
  inputRowBytes: config.maxInputRowSize,
  runtimeIdBytes: config.maxRuntimeIdSize,
  inputUploadRows: config.maxInputUploadRows,
  inputUploadBytes: config.maxInputUploadSize ?? inputUploadBytesOf(config.engine),
  ...(config.quota === undefined ? {} : { quotaBytes: config.quota }),
});

/**
 * Starts the scrub of the store, unless it is disabled or the engine cannot check its data. Its progress is kept in the control
 * folder.
 */
export function startScrub(
  { engine, damage }: OpenStore,
  { scrubRate, scrubInterval }: Config,
  controlFolder: string,
  log: Log,
): Scrub | undefined {
  if (scrubRate === 0 || !engine.check) return undefined;
  const scrub = new Scrub(engine, {
    bytesPerSecond: scrubRate,
    intervalMs: scrubInterval,
    memory: scrubFile(controlFolder, engine.storeId),
    onFinding: (finding) => {
      damage.add(finding);
    },
    checkFirst: damage.runtimeIds,
    onChecked: (runtimeId, findings) => {
      damage.checked(runtimeId, findings);
    },
    onFault: (error) => {
      log.error({ err: error }, "the scrub failed to read a part of the store and continues");
    },
  });
  scrub.start();
  return scrub;
}

/** Deletes expired outcomes of requests at regular intervals. Returns a function that ends this and waits for the last run. */
export function startPruning(store: EngineStore, log: Log): () => Promise<void> {
  const stopping = new AbortController();
  let lastRun = Promise.resolve();
  const timer = setInterval(() => {
    lastRun = lastRun
      .then(() => store.prune(stopping.signal))
      .catch((error: unknown) => {
        log.error({ err: error }, "expired outcomes of requests could not be deleted");
      });
  }, PRUNE_INTERVAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    stopping.abort();
    await lastRun;
  };
}
