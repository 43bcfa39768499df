import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DescFile } from "@bufbuild/protobuf";
import { HealthImplementation } from "grpc-health-check";
import type { Server } from "@grpc/grpc-js";
import { AdminService, RuntimeStoreService } from "@bolthole/contract/wire";
import { type HorizonMove, LostFilesError, YieldBudget, areFilesInPlace, storeMaintenance } from "@bolthole/core";
import { refuseOtherContents } from "@bolthole/lmdb";
import { ClockLog } from "./clock-log.js";
import type { Config } from "./config.js";
import { EXIT, type ExitCode, StartupError, failureOf, startFailure } from "./exit-code.js";
import { watchFiles } from "./file-watch.js";
import { prepareDataFolder } from "./folder/data-folder.js";
import { tightenedText } from "./folder/private-files.js";
import { SocketFile } from "./folder/socket-file.js";
import { loadToken, removeEndpoint, writeEndpoint } from "./folder/state-files.js";
import { StoreLock } from "./folder/store-lock.js";
import { foreignControl } from "./folder/trusted-path.js";
import { Listener, createGrpcServer } from "./grpc-server.js";
import type { Log } from "./log.js";
import { openStore, startPruning, startScrub, storeFilesOf } from "./open-store.js";
import { connectionsWithin } from "./process-limits.js";
import { requireToken } from "./rpc/authentication.js";
import { Admission } from "./rpc/admission.js";
import type { HandlerContext } from "./rpc/handler.js";
import { methodLimits, requestBudget, responseBudget, streamLimits } from "./rpc/method-limits.js";
import { ResponseBudget } from "./rpc/response-budget.js";
import { registerReflection } from "./rpc/reflection.js";
import { refuseAdminService, registerAdminService, registerStoreService } from "./rpc/services.js";
import { StreamGuard } from "./rpc/stream-guard.js";
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

/** `saved` resolves when everything that could be saved is in the data file; the process should end after it. */
export type OnFailure = (cause: unknown, saved: Promise<void>) => void;

/**
 * Starts a daemon: prepares and locks the folder, opens the engine and the store, and listens. Throws a StartupError when the
 * settings or the data are the cause. A start that fails has closed everything that it had opened; when that is not possible within
 * the time limit, the error has the exit code NOT_CLOSED.
 *
 * `onFailure` is called once: with the error when the disk fails during a write, and with a LostFilesError when the files of the store
 * were removed. `signal` aborts a start that is still checking the store.
 */
export async function startDaemon(
  config: Config,
  log: Log,
  onFailure: OnFailure,
  signal?: AbortSignal,
): Promise<Daemon> {
  const startedAt = new Date();
  const files = storeFilesOf(config);
  const { controlFolder } = files;
  prepareDataFolder(controlFolder);
  const closers = new Closers();
  try {
    if (config.engine === "lmdb") refuseOtherContents(controlFolder);
    const lock = StoreLock.take(files, startedAt, (file) => {
      log.warn(file, tightenedText(file));
    });
    const above = foreignControl(dirname(controlFolder));
    if (above !== undefined) {
      log.warn({ data: config.data }, `other users can replace the data folder, and the socket in it: ${above}`);
    }
    closers.add("the locks of the store", () => {
      lock.release();
    });
    return await assemble({ config, controlFolder, lock, log, startedAt, onFailure, closers, signal });
  } catch (error) {
    const failure = startFailure(controlFolder, error);
    const closed = closers.close().catch((closing: unknown) => {
      log.error({ err: closing }, "not everything that the start had opened could be closed");
    });
    if (await isWithin(config.closeTimeout, closed)) throw failure;
    const text = `${failureOf(failure).message}; then ${closers.current} could not be closed in time`;
    throw new StartupError(EXIT.NOT_CLOSED, text, failure);
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
  readonly lock: StoreLock;
  readonly log: Log;
  readonly startedAt: Date;
  readonly onFailure: OnFailure;
  readonly closers: Closers;
  readonly signal: AbortSignal | undefined;
}

async function assemble(start: Start): Promise<Daemon> {
  const { config, controlFolder, lock, log, startedAt, closers, signal } = start;
  const health = new HealthImplementation(Object.fromEntries(SERVICES.map((service) => [service, "NOT_SERVING"])));
  const setHealth = (status: "SERVING" | "NOT_SERVING"): void => {
    for (const service of SERVICES) health.setStatus(service, status);
  };
  let hasFailed = false;
  // A write and the watch of the files may find the same failure.
  const onFailure = (cause: unknown): void => {
    if (hasFailed) return;
    hasFailed = true;
    setHealth("NOT_SERVING");
    start.onFailure(cause, cause instanceof LostFilesError ? saveFromOpenFiles() : Promise.resolve());
  };
  const saveFromOpenFiles = async (): Promise<void> => {
    try {
      await opened.engine.saveFromOpenFiles?.();
    } catch (error) {
      log.error({ err: error }, "the last changes could not be moved from a removed file into the data file");
    }
  };
  const socketFile = SocketFile.in(controlFolder);
  const clocks = new ClockLog(log);
  const onHorizonMoved = (move: HorizonMove): void => {
    clocks.horizonMoved(move);
  };
  const opened = await openStore(config, log, { lock, onFailure, signal, onHorizonMoved });
  const { engine, store } = opened;
  closers.add("the store", () => engine.close());
  clocks.started(await store.clockState());
  closers.add("the deletion of old outcomes", startPruning(store, clocks, log));
  const scrub = startScrub(opened, config, controlFolder, log);
  closers.add("the scrub", () => scrub?.stop());

  const admission = new Admission(config.maxRequests);
  const guard = new StreamGuard(requestBudget(config), methodLimits(config), streamLimits(config));
  closers.add("the checks of slow clients", () => {
    guard.stop();
  });
  const responses = new ResponseBudget(responseBudget(config));
  const handlers: HandlerContext = {
    admission,
    responses,
    log,
    newSlices: () => new YieldBudget(),
    storeId: engine.storeId,
  };
  const listeners: Listener[] = [];
  closers.add("the connections", () => Promise.all(listeners.map((listener) => listener.close())));
  const createServer = (files: readonly DescFile[]): Server => {
    const server = createGrpcServer(config);
    registerStoreService(server, handlers, store);
    health.addToServer(server);
    registerReflection(server, files);
    return server;
  };

  const socketServer = createServer([RuntimeStoreService.file, AdminService.file]);
  registerAdminService(
    socketServer,
    handlers,
    () =>
      describeStatus({
        config,
        engine,
        store,
        scrub,
        startedAt,
        admission,
        requestBudget: guard.budget,
        responses,
        listeners,
        log,
      }),
    store,
    storeMaintenance(opened.damage.watching(engine)),
  );
  const maxConnections = connectionsWithin(config.maxConnections, config.listen ? 2 : 1);
  if (maxConnections < config.maxConnections) {
    log.warn(
      { maxConnections, configured: config.maxConnections },
      "the limit of open files allows fewer connections than --max-connections; raise the limit (ulimit -n), or lower the setting",
    );
  }
  const listener = await Listener.onSocket(socketFile, socketServer, guard, { maxConnections });
  listeners.push(listener);
  if (config.listen) {
    const { host, port } = config.listen;
    const authenticate = config.tcpInsecure ? undefined : requireToken(loadToken(controlFolder));
    const tcpServer = createServer([RuntimeStoreService.file]);
    refuseAdminService(tcpServer);
    listeners.push(await Listener.onTcp(host, port, tcpServer, guard, { maxConnections, authenticate }));
  }
  const targets = listeners.map(({ target }) => target);
  writeEndpoint(controlFolder, targets);
  closers.add("the endpoint file", () => {
    if (areFilesInPlace(lock.check)) removeEndpoint(controlFolder);
  });
  closers.add("the watch of the files", watchFiles({ guard: lock.check, onLost: onFailure, listener, log }));
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
