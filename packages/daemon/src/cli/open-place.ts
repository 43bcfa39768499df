import { existsSync, statSync } from "node:fs";
import { type Command, Option } from "commander";
import { connect } from "@bolthole/client";
import type { RuntimeTransfer, StoreMaintenance, VersionedStore } from "@bolthole/contract";
import { storeMaintenance } from "@bolthole/core";
import { Closers } from "../closers.js";
import { type Config, SETTINGS, type SettingName, resolveConfig, variableOf } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";
import { findHome, homeOf, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/endpoint.js";
import { lockFolder } from "../folder/folder-lock.js";
import { createLog } from "../log.js";
import { KnownDamage } from "../known-damage.js";
import { createStore, openEngine, startFailure } from "../open-store.js";
import { RemoteCare } from "./remote-care.js";
import { RemoteTransfer } from "./remote-transfer.js";

export interface PlaceFlags {
  readonly data?: string;
  readonly engine?: string;
}

/** A store to move something into or out of: a running daemon's, or one that is opened here and now. */
export interface Place {
  readonly store: Pick<
    VersionedStore,
    "listRuntimes" | "loadAuthOauthFlowSnapshot" | "updateAuthOauthFlowSnapshot" | "persistAuthOauthFlowSnapshot"
  >;
  readonly transfer: RuntimeTransfer;
  readonly care: StoreMaintenance;
  close(): Promise<void>;
}

/** The settings that say which store it is. All others are taken from the environment, as by `serve`. */
export function addPlaceOptions(command: Command): Command {
  const names: SettingName[] = ["data", "engine"];
  for (const name of names) {
    command.addOption(new Option(`--${name} <value>`, `${SETTINGS[name].help} (${variableOf(name)})`));
  }
  return command;
}

/** `missing`: what to take for a store that is not there yet. */
export async function openPlace({ data, engine }: PlaceFlags, missing: "refuse" | "make" | "nothing"): Promise<Place> {
  const flags = { ...(data !== undefined && { data }), ...engineOf(data, engine) };
  const config = resolveConfig(flags, process.env);
  if (!existsSync(config.data)) {
    if (missing === "refuse") throw new StartupError(EXIT.DATA_FOLDER, `there is no store at ${config.data}`);
    if (missing === "nothing") return openLocal({ ...config, engine: "memory" }, new Closers());
  }
  const [target] = readEndpoint(findHome(config.data));
  const home = homeOf(config);
  prepareDataFolder(home);
  const closers = new Closers();
  try {
    closers.add(lockFolder(home, new Date()));
  } catch (error) {
    if (!(error instanceof StartupError && error.exitCode === EXIT.HELD) || target === undefined) throw error;
    return openRemote(target);
  }
  try {
    return await openLocal(config, closers);
  } catch (error) {
    await closers.close();
    throw error;
  }
}

async function openLocal(config: Config, closers: Closers): Promise<Place> {
  const damage = new KnownDamage(createLog(config.logLevel));
  const stored = await openEngine(config, () => undefined, damage).catch((error: unknown) => {
    throw startFailure(homeOf(config), error);
  });
  const engine = damage.guard(stored);
  closers.add(() => engine.close());
  const store = createStore(engine, config);
  return { store, transfer: store, care: storeMaintenance(engine), close: () => closers.close() };
}

/** A file can only be a database, so nobody has to say so. */
function engineOf(data: string | undefined, engine: string | undefined): { engine?: string } {
  if (engine !== undefined) return { engine };
  const named = data ?? process.env[variableOf("data")];
  const isFile = named !== undefined && statSync(named, { throwIfNoEntry: false })?.isFile();
  return isFile && process.env[variableOf("engine")] === undefined ? { engine: "sqlite" } : {};
}

async function openRemote(target: string): Promise<Place> {
  const connected = await connect(target);
  const transfer = new RemoteTransfer(target);
  const care = new RemoteCare(target);
  return {
    store: connected.versioned,
    transfer,
    care,
    close: async () => {
      transfer.close();
      care.close();
      await connected.close();
    },
  };
}
