import { type Command, Option } from "commander";
import { connect } from "@bolthole/client";
import {
  type HorizonControl,
  type RuntimeTransfer,
  StoreError,
  type StoreMaintenance,
  type VersionedStore,
} from "@bolthole/contract";
import { storeMaintenance } from "@bolthole/core";
import { refuseOtherContents } from "@bolthole/lmdb";
import { type Config, type SettingName, helpOf, resolveConfig, variableOf } from "../config.js";
import { EXIT, StartupError, isWithoutAnswer, startFailure } from "../exit-code.js";
import { controlFolderOf, isFile, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/state-files.js";
import { holdsStore, mayHoldStore, noStore, textOfUnfinishedRestore } from "../folder/store-id.js";
import { reportTightened } from "../folder/private-files.js";
import { StoreLock } from "../folder/store-lock.js";
import { createLog } from "../log.js";
import { openStore, storeFilesOf } from "../open-store.js";
import { RemoteMaintenance } from "./remote-maintenance.js";
import { onInterruption } from "./signals.js";

export interface StoreTargetFlags {
  readonly data?: string;
  readonly engine?: string;
}

/** The store that a command works on: the store of a running daemon, or one that this process opens. */
export interface StoreTarget {
  readonly store: Pick<
    VersionedStore,
    | "listRuntimes"
    | "deleteRuntime"
    | "loadAuthOauthFlowSnapshot"
    | "updateAuthOauthFlowSnapshot"
    | "persistAuthOauthFlowSnapshot"
    | "getServerInfo"
  >;
  readonly transfer: RuntimeTransfer & HorizonControl;
  readonly maintenance: StoreMaintenance;
  close(): Promise<void>;
}

/** Adds the options that select the store. All other settings come from the environment, as for `serve`. */
export function addStoreTargetOptions(command: Command): Command {
  const names: SettingName[] = ["data", "engine"];
  for (const name of names) {
    command.addOption(new Option(`--${name} <value>`, `${helpOf(name)} (${variableOf(name)})`));
  }
  return command;
}

/**
 * Opens the selected store, over the socket when a daemon serves it. `missing` selects what happens when there is no store: an
 * error, a new store, or an empty store in memory that leaves no files.
 */
export async function openStoreTarget(
  { data, engine }: StoreTargetFlags,
  missing: "refuse" | "create" | "memory",
): Promise<StoreTarget> {
  const flags = { ...(data !== undefined && { data }), ...engineOf(data, engine) };
  const config = resolveConfig(flags, process.env);
  const withoutStore = (): Promise<StoreTarget> => {
    if (missing === "memory" && textOfUnfinishedRestore(config.data) === undefined)
      return openLocal({ ...config, engine: "memory" }, undefined);
    throw noStore(config.data);
  };
  const files = storeFilesOf(config);
  const { controlFolder } = files;
  if (missing !== "create" && !mayHoldStore(files)) return withoutStore();
  let lock: StoreLock;
  try {
    prepareDataFolder(controlFolder);
    if (config.engine === "lmdb") refuseOtherContents(controlFolder);
    lock = StoreLock.take(files, new Date(), reportTightened);
  } catch (error) {
    if (!(error instanceof StartupError && error.exitCode === EXIT.HELD)) throw startFailure(controlFolder, error);
    const [target] = readEndpoint(controlFolder);
    if (target === undefined) throw error;
    return openRemote(target);
  }
  if (missing !== "create" && !holdsStore(files)) {
    lock.release();
    return withoutStore();
  }
  return openLocal(config, lock);
}

/** Opens the store in this process. Without a lock, for a store in memory that has no files. */
async function openLocal(config: Config, lock: StoreLock | undefined): Promise<StoreTarget> {
  try {
    const opening = { lock, onFailure: () => undefined };
    const { engine, store, damage } = await openStore(config, createLog(config.logLevel), opening);
    const forget = onInterruption(() => engine.abandon?.());
    return {
      store,
      transfer: store,
      maintenance: storeMaintenance(damage.watching(engine)),
      close: async () => {
        try {
          await engine.close();
        } catch (error) {
          throw startFailure(controlFolderOf(config), error);
        } finally {
          forget();
          lock?.release();
        }
      },
    };
  } catch (error) {
    lock?.release();
    throw startFailure(controlFolderOf(config), error);
  }
}

/** Selects the engine sqlite for a path that is a file, so that `--engine` can be left out. */
function engineOf(data: string | undefined, engine: string | undefined): { engine?: string } {
  if (engine !== undefined) return { engine };
  const path = data ?? (process.env[variableOf("data")] || undefined);
  const isDatabase = path !== undefined && isFile(path);
  return isDatabase && !process.env[variableOf("engine")] ? { engine: "sqlite" } : {};
}

/** What the daemon does in the calls of a command that change nothing, for the message when it gives no answer. */
const READS = {
  listRuntimes: "listing the runtimes",
  loadAuthOauthFlowSnapshot: "loading the OAuth flow state",
  getServerInfo: "reading the horizon and the limits",
} as const satisfies Partial<Record<keyof StoreTarget["store"], string>>;

/** Returns the store with the step, and what to do, in the errors of calls that get no answer. */
function withSteps(target: string, store: StoreTarget["store"]): StoreTarget["store"] {
  const naming =
    <A, R>(name: keyof typeof READS, read: (argument: A) => Promise<R>) =>
    async (argument: A): Promise<R> => {
      try {
        return await read(argument);
      } catch (error) {
        if (!isWithoutAnswer(error)) throw error;
        const text =
          `the daemon at ${target} gave no answer while ${READS[name]} (${error.text}); nothing was changed by this call; ` +
          "repeat the command when a daemon serves the store, or stop it";
        throw new StoreError("ReadFailed", error.reason, text, { cause: error });
      }
    };
  return {
    listRuntimes: naming("listRuntimes", (request) => store.listRuntimes(request)),
    loadAuthOauthFlowSnapshot: naming("loadAuthOauthFlowSnapshot", (none) => store.loadAuthOauthFlowSnapshot(none)),
    getServerInfo: naming("getServerInfo", (none) => store.getServerInfo(none)),
    deleteRuntime: (request) => store.deleteRuntime(request),
    updateAuthOauthFlowSnapshot: (request) => store.updateAuthOauthFlowSnapshot(request),
    persistAuthOauthFlowSnapshot: (request) => store.persistAuthOauthFlowSnapshot(request),
  };
}

async function openRemote(target: string): Promise<StoreTarget> {
  const connected = await connect(target);
  const remote = new RemoteMaintenance(target);
  return {
    store: withSteps(target, connected.versioned),
    transfer: remote,
    maintenance: remote,
    close: async () => {
      remote.close();
      await connected.close();
    },
  };
}
