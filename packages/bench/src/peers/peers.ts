import { join } from "node:path";
import { ServerProcess } from "./server-process.js";

/** The daemon itself, on LMDB. */
export const startDaemon = (folder: string, profileFolder: string | undefined): Promise<ServerProcess> => {
  const data = join(folder, "daemon");
  return ServerProcess.start({
    name: "bolthole",
    script: require.resolve("@bolthole/daemon/bin"),
    args: ["serve", "--data", data, "--log-level", "warn"],
    folder: data,
    nodeArgs: profileFolder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`],
  });
};

/** See bare-commit.ts. */
export const startBareCommit = (folder: string): Promise<ServerProcess> =>
  startBare("bare commit", "bare-commit", folder);

/** See bare-echo.ts. */
export const startBareEcho = (folder: string): Promise<ServerProcess> => startBare("bare echo", "bare-echo", folder);

function startBare(name: string, script: string, parent: string): Promise<ServerProcess> {
  const folder = join(parent, script);
  return ServerProcess.start({ name, script: join(__dirname, `${script}.js`), args: [folder], folder });
}
