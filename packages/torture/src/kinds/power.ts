import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LoopDisk } from "../power/loop-disk.js";
import type { Kind, Site } from "./kind.js";

const LEFT_ALIVE_MS = 40;

/** A site on a disk of its own, which loses at each strike what was not flushed. */
async function loseTheUnflushed(folder: string, strike: (disk: LoopDisk) => Site["strike"]): Promise<Site> {
  const mount = join(folder, "disk");
  mkdirSync(mount);
  const disk = new LoopDisk(join(folder, "disk.img"), mount);
  await disk.create();
  await disk.mount();
  return {
    data: join(mount, "data"),
    strike: strike(disk),
    recover: async () => {
      await disk.unmount();
      await disk.mount();
    },
    dispose: () => disk.unmount(),
  };
}

/** A power cut: the process stands still, and then its disk forgets what was not flushed. */
export const power: Kind = {
  name: "power",
  description: "the loss of everything that was not flushed (needs root; Linux)",
  acknowledgedBefore: 1000,
  withinMs: 200,
  endings: [],
  excuses: [],
  isOnOwnDisk: true,
  prepare: (folder) =>
    loseTheUnflushed(folder, (disk) => async ({ daemon }) => {
      await disk.cutPower(daemon.pid);
      return daemon.stop("SIGKILL");
    }),
};

/** The disk goes, and the daemon lives on for a moment, in which it must not answer for anything new. */
export const deadDisk: Kind = {
  name: "dead-disk",
  description: "a disk that fails for good under a daemon that lives on (needs root; Linux)",
  acknowledgedBefore: 200,
  withinMs: 200,
  // A failed write ends the daemon by itself; the native library may even abort under one.
  endings: ["6", "SIGABRT"],
  excuses: [],
  isOnOwnDisk: true,
  prepare: (folder) =>
    loseTheUnflushed(folder, (disk) => async ({ daemon, random }) => {
      await disk.cutPower();
      await sleep(random.below(LEFT_ALIVE_MS));
      return daemon.stop("SIGKILL");
    }),
};
