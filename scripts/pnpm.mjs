import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** The pnpm that package.json pins, as `name@version`. */
const PNPM = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).packageManager;

/** Runs a command in the checkout; ends this process with its exit code when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** Runs the pinned pnpm, fetched by npm when it is not there yet: nothing but Node and npm is needed. */
export function pnpm(...args) {
  run("npm", ["exec", "--yes", "--loglevel=error", `--package=${PNPM}`, "--", "pnpm", ...args]);
}

/** Installs exactly what the lock file names. */
export function install() {
  pnpm("install", "--frozen-lockfile", "--prefer-offline", "--reporter=append-only", "--loglevel=error");
}
