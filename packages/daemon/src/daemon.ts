import type { DescFile } from "@bufbuild/protobuf";
import { HealthImplementation } from "grpc-health-check";
import type { Server, ServerOptions } from "@grpc/grpc-js";
import { AdminService, RuntimeStoreService } from "@bolthole/contract/wire";
import { type EngineStore, storeMaintenance } from "@bolthole/core";
import { Closers } from "./closers.js";
import type { Config } from "./config.js";
import { EXIT, type ExitCode } from "./exit-code.js";
import { homeOf, parentOf, prepareDataFolder, refuseSharedFolder } from "./folder/data-folder.js";
import { removeEndpoint, socketPath, writeEndpoint } from "./folder/endpoint.js";
import { lockFolder } from "./folder/folder-lock.js";
import { loadToken } from "./folder/token.js";
import { createGrpcServer } from "./grpc-server.js";
import { Listener } from "./listener.js";
import { KnownDamage } from "./known-damage.js";
import type { Log } from "./log.js";
import { createStore, openEngine, startFailure } from "./open-store.js";
import { registerAdminService } from "./rpc/admin-service.js";
import { Admission } from "./rpc/admission.js";
import { requireToken } from "./rpc/authentication.js";
import { registerReflection } from "./rpc/reflection.js";
import { registerStoreService } from "./rpc/store-service.js";
import { startScrub } from "./scrub.js";
import { describeStatus } from "./status.js";

const PRUNE_INTERVAL_MS = 10_000;
const SERVICES = ["", RuntimeStoreService.typeName, AdminService.typeName];

export interface Daemon {
  /** Where it listens, the socket first. */
  readonly targets: readonly string[];
  /** Drains and closes; answers how it went. A second call cuts the drain short. */
  stop(): Promise<ExitCode>;
}

/**
 * Puts a daemon together: folder, engine, store, ways in. `onFailure` is called once when the disk fails under a write;
 * `signal` gives up a start that is still reading the store.
 */
export async function startDaemon(
  config: Config,
  log: Log,
  onFailure: (cause: unknown) => void,
  signal?: AbortSignal,
): Promise<Daemon> {
  const startedAt = new Date();
  process.umask(0o077);
  const home = homeOf(config);
  prepareDataFolder(home);
  const closers = new Closers();
  try {
    closers.add(lockFolder(home, startedAt));
    return await assemble(config, home, log, startedAt, onFailure, closers, signal);
  } catch (error) {
    await closers.close();
    throw startFailure(home, error);
  }
}

async function assemble(
  config: Config,
  home: string,
  log: Log,
  startedAt: Date,
  onFailure: (cause: unknown) => void,
  closers: Closers,
  signal: AbortSignal | undefined,
): Promise<Daemon> {
  const health = new HealthImplementation(Object.fromEntries(SERVICES.map((service) => [service, "NOT_SERVING"])));
  const setHealth = (status: "SERVING" | "NOT_SERVING"): void => {
    for (const service of SERVICES) health.setStatus(service, status);
  };
  const stop = (cause: unknown): void => {
    setHealth("NOT_SERVING");
    onFailure(cause);
  };
  const damage = new KnownDamage(log);
  const stored = await openEngine(config, stop, damage, signal);
  const engine = damage.guard(stored);
  closers.add(() => engine.close());
  const store = createStore(engine, config);
  closers.add(startPruning(store, log));
  const scrub = startScrub(stored, config, home, damage, log);
  closers.add(() => scrub?.stop());

  const admission = new Admission({ requests: config.maxRequests, bytes: config.maxRequestsSize });
  const listeners: Listener[] = [];
  closers.add(async () => {
    await Promise.all(listeners.map((listener) => listener.close()));
  });
  const serve = (options: ServerOptions, files: readonly DescFile[]): Server => {
    const server = createGrpcServer(config, options);
    registerStoreService(server, { admission, log }, store);
    health.addToServer(server);
    registerReflection(server, files);
    return server;
  };

  const path = socketPath(home);
  refuseSharedFolder(parentOf(path), "socket folder");
  const onSocket = serve({}, [RuntimeStoreService.file, AdminService.file]);
  registerAdminService(
    onSocket,
    { admission, log },
    () => describeStatus({ config, engine, store, scrub, startedAt, admission, listeners }),
    store,
    storeMaintenance(engine),
  );
  listeners.push(await Listener.onSocket(path, onSocket, config.maxConnections));
  if (config.listen) {
    const { host, port } = config.listen;
    const interceptors = config.tcpInsecure ? [] : [requireToken(loadToken(home))];
    const onTcp = serve({ interceptors }, [RuntimeStoreService.file]);
    listeners.push(await Listener.onTcp(host, port, onTcp, config.maxConnections));
  }
  const targets = listeners.map(({ target }) => target);
  writeEndpoint(home, targets);
  closers.add(() => {
    removeEndpoint(home);
  });
  setHealth("SERVING");
  log.info({ targets, engine: engine.name, data: config.data, store: engine.storeId }, "serving");

  const drain = async (cutShort: AbortSignal): Promise<ExitCode> => {
    setHealth("NOT_SERVING");
    for (const listener of listeners) listener.stopAccepting();
    const isDrained = await admission.drain(AbortSignal.any([cutShort, AbortSignal.timeout(config.drainTimeout)]));
    await closers.close();
    log.info({ isDrained }, "stopped");
    return isDrained ? EXIT.CLEAN : EXIT.CUT_OFF;
  };
  const cutShort = new AbortController();
  let stopping: Promise<ExitCode> | undefined;
  return {
    targets,
    stop() {
      if (stopping) cutShort.abort();
      return (stopping ??= drain(cutShort.signal));
    },
  };
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
