// `npm start`: installs, builds, and runs the daemon on ./.bolthole. More arguments are passed to `bolthole serve`.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT, install, pnpm } from "./pnpm.mjs";

install();
pnpm("run", "build");

const main = join(ROOT, "packages/daemon/dist/cli/main.js");
const data = join(ROOT, ".bolthole");
const daemon = spawn(process.execPath, [main, "serve", "--data", data, ...process.argv.slice(2)], { stdio: "inherit" });

// A Ctrl-C in a terminal also sends SIGINT to the daemon; this process only waits for it to end.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => daemon.kill("SIGTERM"));
daemon.on("exit", (code) => process.exit(code ?? 1));
