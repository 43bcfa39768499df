import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { LoopDisk } from "../power/loop-disk.js";

const run = promisify(execFile);

const BYTES = 384 * 1024 ** 2;

/** A file system of its own that is soon full. */
export interface SmallDisk {
  mount(): Promise<void>;
  unmount(): Promise<void>;
}

export async function smallExt4(image: string, folder: string): Promise<SmallDisk> {
  const disk = new LoopDisk(image, folder, BYTES);
  await disk.create();
  return disk;
}

export const smallTmpfs = (folder: string): SmallDisk => ({
  mount: async () => {
    await run("mount", ["-t", "tmpfs", "-o", `size=${String(BYTES)}`, "torture", folder]);
  },
  unmount: async () => {
    await run("umount", ["--lazy", folder]);
  },
});
