import { join } from "node:path";
import { OBSERVED_MAIN, PROFILE_FILE } from "./observed.js";
import { ServerProcess } from "./server-process.js";

export interface DaemonOptions {
  /** Where it writes a CPU profile when it stops. */
  readonly profileFile?: string | undefined;
  /** It can tell its inner figures. */
  readonly isObserved?: boolean | undefined;
}

/** The daemon itself, on LMDB, with its data in `daemon` of the folder. */
export function startDaemon(
  folder: string,
  { profileFile, isObserved = false }: DaemonOptions = {},
): Promise<ServerProcess> {
  const main = require.resolve("@bolthole/daemon/bin");
  return ServerProcess.start({
    name: "bolthole",
    main: isObserved || profileFile !== undefined ? join(__dirname, "observed.js") : main,
    folder: join(folder, "daemon"),
    args: ["--log-level", "warn"],
    env: { [PROFILE_FILE]: profileFile, [OBSERVED_MAIN]: main },
    isObserved,
  });
}

/** The daemon on one of its engines, named after it. */
export function startEngine(engine: "memory" | "lmdb" | "sqlite", parent: string): Promise<ServerProcess> {
  const folder = join(parent, engine);
  return ServerProcess.start({
    name: engine,
    main: require.resolve("@bolthole/daemon/bin"),
    folder,
    file: engine === "sqlite" ? join(folder, "store.sqlite3") : undefined,
    args: ["--engine", engine, "--log-level", "warn"],
  });
}

/** See bare-commit.ts. */
export const startBareCommit = (folder: string): Promise<ServerProcess> =>
  startBare("bare commit", "bare-commit", folder);

/** See bare-echo.ts. */
export const startBareEcho = (folder: string): Promise<ServerProcess> => startBare("bare echo", "bare-echo", folder);

/** See bare-stream.ts. */
export const startBareStream = (folder: string): Promise<ServerProcess> =>
  startBare("bare stream", "bare-stream", folder);

const startBare = (name: string, script: string, parent: string): Promise<ServerProcess> =>
  ServerProcess.start({ name, main: join(__dirname, `${script}.js`), folder: join(parent, script) });
