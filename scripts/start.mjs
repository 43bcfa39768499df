// `npm start`: installs, builds, and runs the daemon on ./.bolthole. More arguments are passed to `bolthole serve`.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT, install, pnpm } from "./pnpm.mjs";

// Otherwise Node opens an inspector, where every local user could run code.
process.on("SIGUSR1", () => {});
install();
pnpm("run", "build");

const main = join(ROOT, "packages/daemon/dist/cli/main.js");
const data = join(ROOT, ".bolthole");
// Node 22.14 and later can leave SIGUSR1 alone from the first moment. Before, the daemon closes an inspector that the signal opened.
const options = process.allowedNodeEnvironmentFlags.has("--disable-sigusr1") ? ["--disable-sigusr1"] : [];
const command = [process.execPath, ...options, main, "serve", "--data", data, ...process.argv.slice(2)];
// No core file: it would have the secrets of the store.
const daemon = spawn("sh", ["-c", 'ulimit -c 0; exec "$@"', "sh", ...command], { stdio: "inherit" });

// A terminal sends its signals to the daemon, too; this process only waits for it to end.
for (const signal of ["SIGINT", "SIGHUP", "SIGQUIT"]) process.on(signal, () => {});
process.on("SIGTERM", () => daemon.kill("SIGTERM"));
daemon.on("exit", (code) => process.exit(code ?? 1));
