import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DescFile } from "@bufbuild/protobuf";
import { HealthImplementation } from "grpc-health-check";
import type { Server, ServerOptions } from "@grpc/grpc-js";
import { AdminService, RuntimeStoreService } from "@bolthole/contract/wire";
import { YieldBudget, storeMaintenance } from "@bolthole/core";
import type { Config } from "./config.js";
import { EXIT, type ExitCode, startFailure } from "./exit-code.js";
import { controlFolderOf, lockFolder, prepareDataFolder, refuseSharedFolder } from "./folder/data-folder.js";
import { loadToken, removeEndpoint, socketPath, writeEndpoint } from "./folder/state-files.js";
import { Listener, createGrpcServer } from "./grpc-server.js";
import type { Log } from "./log.js";
import { openStore, startPruning, startScrub } from "./open-store.js";
import { requireToken } from "./rpc/authentication.js";
import { Admission, type HandlerContext } from "./rpc/handler.js";
import { registerAdminService, registerReflection, registerStoreService } from "./rpc/services.js";
import { describeStatus } from "./status.js";

const SERVICES = ["", RuntimeStoreService.typeName, AdminService.typeName];

export interface Daemon {
  /** The gRPC targets that it listens on, the socket first. */
  readonly targets: readonly string[];
  /**
   * Drains the calls in progress, closes everything, and returns the exit code. A second call ends the drain immediately, and
   * shortens nothing else. With NOT_CLOSED something still uses the store, and the process must end without closing it.
   */
  stop(): Promise<ExitCode>;
}

/**
 * Starts a daemon: prepares and locks the folder, opens the engine and the store, and listens. Throws a StartupError when the
 * settings or the data are the cause. `onDiskFailure` is called once when the disk fails during a write; `signal` aborts a start
 * that is still checking the store.
 */
export async function startDaemon(
  config: Config,
  log: Log,
  onDiskFailure: (cause: unknown) => void,
  signal?: AbortSignal,
): Promise<Daemon> {
  const startedAt = new Date();
  process.umask(0o077);
  const controlFolder = controlFolderOf(config);
  prepareDataFolder(controlFolder);
  const closers = new Closers();
  try {
    closers.add("the lock of the folder", lockFolder(controlFolder, startedAt));
    return await assemble({ config, controlFolder, log, startedAt, onDiskFailure, closers, signal });
  } catch (error) {
    await closers.close();
    throw startFailure(controlFolder, error);
  }
}

/** Functions that release what a start has acquired, called in reverse order. */
class Closers {
  private readonly stack: { readonly name: string; readonly close: () => unknown }[] = [];
  /** The name of what is being released. */
  current = "";

  /** Adds a function. If it returns a promise, the promise is awaited before the next function is called. */
  add(name: string, close: () => unknown): void {
    this.stack.push({ name, close });
  }

  /** Calls all functions, also after one that failed. Then throws the first error. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (let next = this.stack.pop(); next; next = this.stack.pop()) {
      this.current = next.name;
      try {
        await next.close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/** Resolves to true when the work ends within this time, else to false. Rejects when the work rejects. */
async function isWithin(limitMs: number, work: Promise<void>): Promise<boolean> {
  const ended = new AbortController();
  const late = sleep(limitMs, false, { signal: ended.signal }).catch(() => false);
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    ended.abort();
  }
}

interface Start {
  readonly config: Config;
  readonly controlFolder: string;
  readonly log: Log;
  readonly startedAt: Date;
  readonly onDiskFailure: (cause: unknown) => void;
  readonly closers: Closers;
  readonly signal: AbortSignal | undefined;
}

async function assemble(start: Start): Promise<Daemon> {
  const { config, controlFolder, log, startedAt, onDiskFailure, closers, signal } = start;
  const health = new HealthImplementation(Object.fromEntries(SERVICES.map((service) => [service, "NOT_SERVING"])));
  const setHealth = (status: "SERVING" | "NOT_SERVING"): void => {
    for (const service of SERVICES) health.setStatus(service, status);
  };
  const failDisk = (cause: unknown): void => {
    setHealth("NOT_SERVING");
    onDiskFailure(cause);
  };
  const opened = await openStore(config, log, failDisk, signal);
  const { engine, store } = opened;
  closers.add("the store", () => engine.close());
  closers.add("the deletion of old outcomes", startPruning(store, log));
  const scrub = startScrub(opened, config, controlFolder, log);
  closers.add("the scrub", () => scrub?.stop());

  const admission = new Admission({
    requests: config.maxRequests,
    bytes: config.maxRequestsSize,
    requestBytes: config.maxRequestSize,
  });
  const handlers: HandlerContext = { admission, log, newSlices: () => new YieldBudget() };
  const listeners: Listener[] = [];
  closers.add("the connections", () => Promise.all(listeners.map((listener) => listener.close())));
  const createServer = (options: ServerOptions, files: readonly DescFile[]): Server => {
    const server = createGrpcServer(config, options);
    registerStoreService(server, handlers, store);
    health.addToServer(server);
    registerReflection(server, files);
    return server;
  };

  const path = socketPath(controlFolder);
  refuseSharedFolder(dirname(path), "socket folder");
  const socketServer = createServer({}, [RuntimeStoreService.file, AdminService.file]);
  registerAdminService(
    socketServer,
    handlers,
    () => describeStatus({ config, engine, store, scrub, startedAt, admission, listeners }),
    store,
    storeMaintenance(opened.damage.watching(engine)),
  );
  listeners.push(await Listener.onSocket(path, socketServer, config.maxConnections));
  if (config.listen) {
    const { host, port } = config.listen;
    const interceptors = config.tcpInsecure ? [] : [requireToken(loadToken(controlFolder))];
    const tcpServer = createServer({ interceptors }, [RuntimeStoreService.file]);
    listeners.push(await Listener.onTcp(host, port, tcpServer, config.maxConnections));
  }
  const targets = listeners.map(({ target }) => target);
  writeEndpoint(controlFolder, targets);
  closers.add("the endpoint file", () => {
    removeEndpoint(controlFolder);
  });
  setHealth("SERVING");
  log.info({ targets, engine: engine.name, data: config.data, store: engine.storeId }, "serving");

  const cutShort = new AbortController();
  const drain = async (): Promise<ExitCode> => {
    setHealth("NOT_SERVING");
    for (const listener of listeners) listener.stopAccepting();
    // Not `AbortSignal.any` with `AbortSignal.timeout`: Node 20 may collect that signal before it aborts.
    const timer = setTimeout(() => {
      cutShort.abort();
    }, config.drainTimeout);
    const isDrained = await admission.drain(cutShort.signal);
    clearTimeout(timer);
    if (!(await isWithin(config.closeTimeout, closers.close()))) {
      log.fatal(
        { waitsFor: closers.current, closeTimeoutMs: config.closeTimeout },
        "the store could not be closed in time; the process ends as after a crash, and the next start checks the store; " +
          "acknowledged changes are safe",
      );
      return EXIT.NOT_CLOSED;
    }
    log.info({ isDrained }, "stopped");
    return isDrained ? EXIT.CLEAN : EXIT.CUT_OFF;
  };
  let stopping: Promise<ExitCode> | undefined;
  return {
    targets,
    stop() {
      if (stopping) cutShort.abort();
      return (stopping ??= drain());
    },
  };
}
