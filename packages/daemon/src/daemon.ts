import { HealthImplementation } from "grpc-health-check";
import type { Server, ServerOptions } from "@grpc/grpc-js";
import { AdminService, RuntimeStoreService } from "@bolthole/contract/wire";
import type { Limits } from "@bolthole/contract";
import { DEFAULT_LIMITS, type Engine, type EngineStore, MemoryEngine, createEngineStore } from "@bolthole/core";
import { LmdbEngine, UnusableFolder } from "@bolthole/lmdb";
import type { Config } from "./config.js";
import { EXIT, type ExitCode, StartFailure } from "./exit-code.js";
import { parentOf, prepareDataFolder, refuseSharedFolder } from "./folder/data-folder.js";
import { removeEndpoint, socketPath, writeEndpoint } from "./folder/endpoint.js";
import { lockFolder } from "./folder/folder-lock.js";
import { loadToken } from "./folder/token.js";
import { Listener, createGrpcServer } from "./listener.js";
import type { Log } from "./log.js";
import { type DaemonStatus, registerAdminService } from "./rpc/admin-service.js";
import { Admission } from "./rpc/admission.js";
import { requireToken } from "./rpc/authentication.js";
import type { HandlerContext } from "./rpc/handler.js";
import { registerReflection } from "./rpc/reflection.js";
import { registerStoreService } from "./rpc/store-service.js";
import { VERSION } from "./version.js";

const PRUNE_INTERVAL_MS = 10_000;
const SERVICES = ["", RuntimeStoreService.typeName, AdminService.typeName];

export interface Daemon {
  /** Where it listens, the socket first. */
  readonly targets: readonly string[];
  /** Drains and closes; answers how it went. A second call cuts the drain short. */
  stop(): Promise<ExitCode>;
}

/** Puts a daemon together: folder, engine, store, ways in. `onFailure` is called once when the disk fails under a write. */
export async function startDaemon(config: Config, log: Log, onFailure: (cause: unknown) => void): Promise<Daemon> {
  const startedAt = new Date();
  process.umask(0o077);
  prepareDataFolder(config.data);
  const unlock = lockFolder(config.data, startedAt);
  const closers: (() => Promise<void> | void)[] = [unlock];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.reverse()) await close();
  };
  try {
    return await assemble(config, log, startedAt, onFailure, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function assemble(
  config: Config,
  log: Log,
  startedAt: Date,
  onFailure: (cause: unknown) => void,
  closers: (() => Promise<void> | void)[],
  closeAll: () => Promise<void>,
): Promise<Daemon> {
  const health = new HealthImplementation(Object.fromEntries(SERVICES.map((service) => [service, "NOT_SERVING"])));
  const setHealth = (status: "SERVING" | "NOT_SERVING"): void => {
    for (const service of SERVICES) health.setStatus(service, status);
  };
  const engine = await openEngine(config, (cause) => {
    setHealth("NOT_SERVING");
    onFailure(cause);
  });
  closers.push(() => engine.close());
  const store = createEngineStore(engine, {
    limits: limitsOf(config),
    outcomeRetention: { maxAgeSeconds: config.outcomeMaxAge / 1000, maxCount: config.outcomeMaxCount },
    serverVersion: VERSION,
  });
  closers.push(startPruning(store, log));

  const admission = new Admission({ requests: config.maxRequests, bytes: config.maxRequestsSize });
  const context = { admission, log };
  const listeners: Listener[] = [];
  closers.push(async () => {
    await Promise.all(listeners.map((listener) => listener.close()));
  });
  const targets = (): string[] => listeners.map(({ target }) => target);

  const onSocket = makeServer(config, {}, context, store, health);
  registerAdminService(onSocket, context, () => status(config, engine, store, startedAt, admission, listeners));
  registerReflection(onSocket, [RuntimeStoreService.file, AdminService.file]);
  const path = socketPath(config.data);
  refuseSharedFolder(parentOf(path), "socket folder");
  listeners.push(await Listener.onSocket(path, onSocket, config.maxConnections));

  if (config.listen) {
    const interceptors = config.tcpInsecure ? [] : [requireToken(loadToken(config.data))];
    const onTcp = makeServer(config, { interceptors }, context, store, health);
    registerReflection(onTcp, [RuntimeStoreService.file]);
    listeners.push(await Listener.onTcp(config.listen.host, config.listen.port, onTcp, config.maxConnections));
  }
  writeEndpoint(config.data, targets());
  closers.push(() => {
    removeEndpoint(config.data);
  });
  setHealth("SERVING");
  log.info({ targets: targets(), engine: engine.name, data: config.data, store: engine.storeId }, "serving");

  let cutShort: (() => void) | undefined;
  return {
    targets: targets(),
    async stop() {
      if (cutShort) {
        cutShort();
        return EXIT.CUT_OFF;
      }
      setHealth("NOT_SERVING");
      for (const listener of listeners) listener.stopAccepting();
      const isDrained = await new Promise<boolean>((resolve) => {
        const give = setTimeout(resolve, config.drainTimeout, false);
        cutShort = () => {
          resolve(false);
        };
        void admission.drain().then(() => {
          clearTimeout(give);
          resolve(true);
        });
      });
      await closeAll();
      log.info({ isDrained }, "stopped");
      return isDrained ? EXIT.CLEAN : EXIT.CUT_OFF;
    },
  };
}

async function openEngine(config: Config, onFailure: (cause: unknown) => void): Promise<Engine> {
  if (config.engine === "memory") return new MemoryEngine();
  try {
    return await LmdbEngine.open(config.data, { onFailure });
  } catch (error) {
    if (error instanceof UnusableFolder) throw new StartFailure(EXIT.DATA_FOLDER, error.message, error);
    throw error;
  }
}

const limitsOf = (config: Config): Limits => ({
  ...DEFAULT_LIMITS,
  requestBytes: config.maxRequestSize,
  requestBytesInFlight: config.maxRequestsSize,
  requestsInFlight: config.maxRequests,
  documentBytes: config.maxDocumentSize,
  runtimeIdBytes: config.maxRuntimeIdSize,
});

function makeServer(
  config: Config,
  options: ServerOptions,
  context: HandlerContext,
  store: EngineStore,
  health: HealthImplementation,
): Server {
  const server = createGrpcServer({
    "grpc.max_receive_message_length": config.maxRequestSize,
    "grpc.max_send_message_length": 4 * 1024 * 1024,
    "grpc.max_concurrent_streams": config.maxStreams,
    "grpc.enable_channelz": 0,
    ...options,
  });
  registerStoreService(server, context, store);
  health.addToServer(server);
  return server;
}

function startPruning(store: EngineStore, log: Log): () => Promise<void> {
  let running = Promise.resolve();
  const timer = setInterval(() => {
    running = running
      .then(() => store.prune())
      .catch((error: unknown) => {
        log.error({ err: error }, "old request outcomes could not be forgotten");
      });
  }, PRUNE_INTERVAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}

async function status(
  config: Config,
  engine: Engine,
  store: EngineStore,
  startedAt: Date,
  admission: Admission,
  listeners: readonly Listener[],
): Promise<DaemonStatus> {
  const stats = await engine.stats();
  return {
    version: VERSION,
    pid: process.pid,
    startedAt: startedAt.toISOString(),
    engine: engine.name,
    dataFolder: config.data,
    endpoints: listeners.map(({ target }) => target),
    storeId: engine.storeId,
    commitSequence: BigInt(stats.commitSequence),
    formatVersion: stats.formatVersion,
    storedBytes: BigInt(stats.storedBytes),
    keptOutcomes: BigInt(await store.keptOutcomes()),
    requestsInFlight: admission.requests,
    requestBytesInFlight: BigInt(admission.bytes),
    connections: listeners.reduce((total, { connections }) => total + connections, 0),
    residentBytes: BigInt(process.memoryUsage.rss()),
  };
}
