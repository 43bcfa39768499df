import { dirname } from "node:path";
import type { Limits } from "@bolthole/contract";
import {
  DEFAULT_LIMITS,
  type Engine,
  type EngineStore,
  type HorizonMove,
  MemoryEngine,
  Scrub,
  createEngineStore,
  repairStoreManifest,
} from "@bolthole/core";
import { LmdbEngine } from "@bolthole/lmdb";
import { SqliteEngine } from "@bolthole/sqlite";
import type { ClockLog } from "./clock-log.js";
import { type Config, VERSION } from "./config.js";
import { controlFolderOf, refuseSharedFolder } from "./folder/data-folder.js";
import { damagedRuntimesFile } from "./folder/damaged-runtimes.js";
import { type StoreFiles, keepStoreId, lmdbFiles, refuseLostData, sqliteFiles } from "./folder/store-id.js";
import type { StoreLock } from "./folder/store-lock.js";
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

/** The conditions under which a store is opened. */
export interface Opening {
  /** The locks of the store, which must be held until the engine is closed. Undefined for a store in memory without files. */
  readonly lock: StoreLock | undefined;
  /** Called once, when the disk failed during a write, or with a LostFilesError when the files of the store were removed. */
  readonly onFailure: (cause: unknown) => void;
  /** Aborts a start that is still checking the store. */
  readonly signal?: AbortSignal | undefined;
  /** Called after the horizon was moved. */
  readonly onHorizonMoved?: ((move: HorizonMove) => void) | undefined;
}

/** Opens the configured engine and a store over it. Damage that is found before the store is opened is logged. */
export async function openStore(config: Config, log: Log, opening: Opening): Promise<OpenStore> {
  const damage = new KnownDamage(log);
  const files = storeFilesOf(config);
  refuseLostData(files);
  const engine = await openEngine(config, opening, damage);
  try {
    opening.lock?.adopt();
    keepStoreId(files, engine.storeId);
    if (engine.durable) damage.keepIn(damagedRuntimesFile(files.controlFolder, engine.storeId), opening.lock?.check);
    await recountUnreadable(engine, log);
  } catch (error) {
    await engine.close();
    throw error;
  }
  return { engine, store: createStore(engine, config, damage, opening.onHorizonMoved), damage };
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
      return { controlFolder, dataFile: undefined, isShared: false };
    case "sqlite":
      return sqliteFiles(controlFolder, config.data);
    case "lmdb":
      return lmdbFiles(config.data);
  }
}

async function openEngine(config: Config, { lock, onFailure, signal }: Opening, damage: KnownDamage): Promise<Engine> {
  const guard = lock?.check;
  switch (config.engine) {
    case "memory":
      return new MemoryEngine();
    case "sqlite":
      refuseSharedFolder(dirname(config.data), "database folder");
      return SqliteEngine.open(config.data, { onFailure, guard });
    case "lmdb":
      return LmdbEngine.open(config.data, {
        onFailure,
        guard,
        replaceDataFile: lock?.replaceDataFile,
        quotaBytes: config.quota,
        check: { level: config.check, maxBytes: config.checkMaxSize, signal },
        onFinding: (finding) => {
          damage.add(finding);
        },
      });
  }
}

const createStore = (
  engine: Engine,
  config: Config,
  damage: KnownDamage,
  onHorizonMoved: Opening["onHorizonMoved"],
): EngineStore =>
  createEngineStore(engine, {
    onHorizonMoved,
    limits: limitsOf(config),
    outcomeRetention: { maxAgeSeconds: config.outcomeMaxAge / 1000, maxCount: config.outcomeMaxCount },
    serverVersion: VERSION,
    damagedRuntimes: damage.runtimes,
    reusesChunkBuffers: true,
    documentMemoryBytes: config.documentMemory,
    checks: { incremental: config.incrementalChecks, memoryBytes: config.checkMemory },
  });

/** The engine memory holds an upload in memory until its commit. */
const inputUploadBytesOf = (engine: Config["engine"]): number =>
  engine === "memory" ? 1024 ** 3 : DEFAULT_LIMITS.inputUploadBytes;

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

/**
 * Deletes expired outcomes of requests at regular intervals, and reports jumps of the clock. Returns a function that ends this and
 * waits for the last run.
 */
export function startPruning(store: EngineStore, clocks: ClockLog, log: Log): () => Promise<void> {
  const stopping = new AbortController();
  let lastRun = Promise.resolve();
  const timer = setInterval(() => {
    clocks.compare();
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
    clocks.flush();
  };
}
