import { spawn, spawnSync } from "node:child_process";
import { CannotRun } from "../kinds/kind.js";

const MARK = "TORTURE_PRIVATE_MOUNTS";

export const hasPrivateMounts = (): boolean => process.env[MARK] === "1";

/** Says what this machine lacks for mounting a file system of its own. */
export function checkMachine(): void {
  if (process.platform !== "linux") throw new CannotRun("this kind needs Linux");
  if (process.getuid?.() !== 0) throw new CannotRun("this kind needs root, to mount a file system and to shut it down");
  for (const [command, argument] of [
    ["unshare", "--version"],
    ["mkfs.ext4", "-V"],
    ["mount", "--version"],
    ["python3", "--version"],
  ] as const) {
    if (spawnSync(command, [argument]).status !== 0) throw new CannotRun(`this kind needs the command ${command}`);
  }
}

/** Runs this very command again where its mounts are its own, and are gone with it; answers its exit code. */
export function runWithPrivateMounts(): Promise<number> {
  const again = spawn("unshare", ["--mount", "--propagation", "private", process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => again.kill(signal));
  return new Promise((resolve, reject) => {
    again.once("error", reject);
    again.once("close", (code) => {
      resolve(code ?? 4);
    });
  });
}
