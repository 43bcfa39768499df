import { join } from "node:path";
import { PROFILE_FILE, PROFILED_MAIN } from "./profiled.js";
import { ServerProcess } from "./server-process.js";

/** The daemon itself, on LMDB. */
export function startDaemon(folder: string, profileFile: string | undefined): Promise<ServerProcess> {
  const main = require.resolve("@bolthole/daemon/bin");
  return ServerProcess.start({
    name: "bolthole",
    main: profileFile === undefined ? main : join(__dirname, "profiled.js"),
    folder: join(folder, "daemon"),
    args: ["--log-level", "warn"],
    env: { [PROFILE_FILE]: profileFile, [PROFILED_MAIN]: main },
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

const startBare = (name: string, script: string, parent: string): Promise<ServerProcess> =>
  ServerProcess.start({ name, main: join(__dirname, `${script}.js`), folder: join(parent, script) });
