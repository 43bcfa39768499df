import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import { connect } from "@bolthole/client";
import type { HorizonControl, RuntimeTransfer, StoreMaintenance, VersionedStore } from "@bolthole/contract";
import { storeMaintenance } from "@bolthole/core";
import { type Config, type SettingName, helpOf, resolveConfig, variableOf } from "../config.js";
import { EXIT, StartupError, startFailure } from "../exit-code.js";
import { controlFolderOf, findControlFolder, isFile, lockFolder, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/state-files.js";
import { holdsStore } from "../folder/store-id.js";
import { createLog } from "../log.js";
import { openStore, storeFilesOf } from "../open-store.js";
import { RemoteMaintenance } from "./remote-maintenance.js";

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
    if (missing === "memory") return openLocal({ ...config, engine: "memory" }, () => undefined);
    throw new StartupError(EXIT.DATA_FOLDER, `there is no store at ${config.data}; choose an existing one with --data`);
  };
  if (missing !== "create" && !existsSync(config.data)) return withoutStore();
  const [target] = readEndpoint(findControlFolder(config.data));
  const controlFolder = controlFolderOf(config);
  prepareDataFolder(controlFolder);
  let unlock: () => void;
  try {
    unlock = lockFolder(controlFolder, new Date());
  } catch (error) {
    if (!(error instanceof StartupError && error.exitCode === EXIT.HELD) || target === undefined) throw error;
    return openRemote(target);
  }
  if (missing !== "create" && !holdsStore(storeFilesOf(config))) {
    unlock();
    return withoutStore();
  }
  return openLocal(config, unlock);
}

async function openLocal(config: Config, unlock: () => void): Promise<StoreTarget> {
  try {
    const { engine, store, damage } = await openStore(config, createLog(config.logLevel), () => undefined);
    return {
      store,
      transfer: store,
      maintenance: storeMaintenance(damage.watching(engine)),
      close: async () => {
        await engine.close();
        unlock();
      },
    };
  } catch (error) {
    unlock();
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

async function openRemote(target: string): Promise<StoreTarget> {
  const connected = await connect(target);
  const remote = new RemoteMaintenance(target);
  return {
    store: connected.versioned,
    transfer: remote,
    maintenance: remote,
    close: async () => {
      remote.close();
      await connected.close();
    },
  };
}
