import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fillAndFree } from "../full/fill-and-free.js";
import { type SmallDisk, smallExt4, smallTmpfs } from "../full/small-disk.js";
import type { Kind } from "./kind.js";

const onSmallDisk = (
  name: string,
  description: string,
  make: (folder: string, mount: string) => Promise<SmallDisk>,
): Kind => ({
  name,
  description,
  acknowledgedBefore: 100,
  withinMs: 200,
  endings: [],
  excuses: ["DISK_FULL"],
  isOnOwnDisk: true,
  prepare: async (folder) => {
    const mount = join(folder, "disk");
    mkdirSync(mount);
    const disk = await make(folder, mount);
    await disk.mount();
    return {
      data: join(mount, "data"),
      strike: (strike) => fillAndFree(mount, strike),
      recover: () => Promise.resolve(),
      dispose: () => disk.unmount(),
    };
  },
});

export const fullExt4 = onSmallDisk(
  "full",
  "an ext4 that is filled and freed again (needs root; Linux)",
  (folder, mount) => smallExt4(join(folder, "disk.img"), mount),
);

export const fullTmpfs = onSmallDisk("full-tmpfs", "the same on a tmpfs (needs root; Linux)", (_folder, mount) =>
  Promise.resolve(smallTmpfs(mount)),
);
