// Installs pinned programs of other projects into .tools/bin with Go, and finds them.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const TOOLS = join(resolve(dirname(fileURLToPath(import.meta.url)), ".."), ".tools", "bin");

const go = (args, options) => spawnSync("go", args, { encoding: "utf8", ...options });

export const hasGo = () => go(["version"]).status === 0;

/** Returns the path of a program: in .tools/bin, else in a folder of PATH, else undefined. */
export function findTool(name) {
  const folders = [TOOLS, ...(process.env.PATH ?? "").split(delimiter)];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** `folder` is that of the program in its module, or empty. Installs the pinned version, unless it is installed already. Returns whether it is installed now. */
export function installTool({ name, module, folder, version }) {
  if (go(["version", "-m", join(TOOLS, name)]).stdout.includes(`\t${module}\t${version}\t`)) return true;
  const wanted = `${[module, folder].filter(Boolean).join("/")}@${version}`;
  console.log(`go install ${wanted}`);
  mkdirSync(TOOLS, { recursive: true });
  return go(["install", wanted], { stdio: "inherit", env: { ...process.env, GOBIN: TOOLS } }).status === 0;
}
