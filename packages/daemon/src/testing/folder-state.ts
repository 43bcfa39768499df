import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Returns what is in a folder: for each entry its name, kind, size, mode, owner, time of the last change, and a digest. */
export const stateOf = (folder: string): object[] =>
  readdirSync(folder)
    .sort()
    .map((name) => {
      const path = join(folder, name);
      const { ino, size, mode, uid, gid, mtimeNs } = statSync(path, { bigint: true });
      const digest = statSync(path).isFile() ? createHash("sha256").update(readFileSync(path)).digest("hex") : "folder";
      // Numbers of 64 bits as text, so that a difference is printed.
      return { name, digest, numbers: [ino, size, mode, uid, gid, mtimeNs].join(" ") };
    });

/** A folder that this user cannot write. */
export interface ReadOnlyFolder {
  readonly path: string;
  readonly how: string;
  /** Makes the folder as it was. Call it before the folder is removed. */
  end(): void;
}

const run = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;

/**
 * Makes a folder read-only: by its mode, or for root, which ignores modes, by a read-only mount at `${folder}.mount`. Returns undefined
 * when neither is possible.
 */
export function makeReadOnly(folder: string): ReadOnlyFolder | undefined {
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o500);
    return {
      path: folder,
      how: "mode 0500",
      end: () => {
        chmodSync(folder, 0o700);
      },
    };
  }
  const path = `${folder}.mount`;
  mkdirSync(path);
  if (!run("mount", "--bind", folder, path)) return undefined;
  const end = (): void => {
    if (!run("umount", path)) throw new Error(`${path} could not be unmounted`);
  };
  if (!run("mount", "-o", "remount,bind,ro", path)) {
    end();
    return undefined;
  }
  return { path, how: "a read-only mount", end };
}
