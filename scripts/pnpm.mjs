import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** The pinned pnpm of package.json, as `name@version`. */
export const PNPM = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).packageManager;

/** Runs a command in the checkout. When it fails, ends this process with the same exit code. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** Runs the pinned pnpm. npm downloads it when necessary, so only Node and npm must be installed. */
export function pnpm(...args) {
  run("npm", ["exec", "--yes", "--loglevel=error", `--package=${PNPM}`, "--", "pnpm", ...args]);
}

/** Installs exactly the versions in the lock file. */
export function install() {
  pnpm("install", "--frozen-lockfile", "--prefer-offline", "--reporter=append-only", "--loglevel=error");
}
