import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Setup, faultKind } from "../fault-run.js";
import { duringCompaction } from "./compaction.js";
import { LoopDisk } from "./own-disks.js";

/** Ends the process. The bytes that it wrote stay in the operating system, flushed or not. */
export const kill = faultKind({
  name: "kill",
  description: "SIGKILL at random times, also during compactions",
  acknowledgedBefore: 50,
  withinMs: 500,
  endings: [],
  allowedRefusals: [],
  mountsDisk: false,
  prepare: (folder) => {
    const data = join(folder, "data");
    return Promise.resolve({
      data,
      injectFault: duringCompaction(data, ({ daemon }) => daemon.stop("SIGKILL")),
      recover: () => Promise.resolve(),
      dispose: () => Promise.resolve(),
    });
  },
});

const LEFT_ALIVE_MS = 40;

/** Makes a setup on a separate disk, which loses all data that was not flushed when the fault is injected. */
async function onPowerLossDisk(
  folder: string,
  injectFault: (disk: LoopDisk, data: string) => Setup["injectFault"],
): Promise<Setup> {
  const mount = join(folder, "disk");
  mkdirSync(mount);
  const disk = new LoopDisk(join(folder, "disk.img"), mount);
  const data = join(mount, "data");
  await disk.create();
  await disk.mount();
  return {
    data,
    injectFault: injectFault(disk, data),
    recover: async () => {
      await disk.unmount();
      await disk.mount();
    },
    dispose: () => disk.unmount(),
  };
}

/** Simulates a power cut: stops the process, then drops everything that was not flushed. */
export const power = faultKind({
  name: "power",
  description: "power cuts, also during compactions: everything that was not flushed is lost (needs root; Linux)",
  acknowledgedBefore: 1000,
  withinMs: 200,
  endings: [],
  allowedRefusals: [],
  mountsDisk: true,
  prepare: (folder) =>
    onPowerLossDisk(folder, (disk, data) =>
      duringCompaction(data, async ({ daemon }) => {
        await disk.cutPower(daemon.pid);
        return daemon.stop("SIGKILL");
      }),
    ),
});

/** Removes the disk permanently. The daemon runs for another moment, in which it must not acknowledge anything. */
export const deadDisk = faultKind({
  name: "dead-disk",
  description: "a disk that fails permanently while the daemon runs (needs root; Linux)",
  acknowledgedBefore: 200,
  withinMs: 200,
  // A failed write makes the daemon exit with 6, or makes the native library abort.
  endings: ["6", "SIGABRT"],
  allowedRefusals: [],
  mountsDisk: true,
  prepare: (folder) =>
    onPowerLossDisk(folder, (disk) => async ({ daemon, random }) => {
      await disk.cutPower();
      await sleep(random.below(LEFT_ALIVE_MS));
      return daemon.stop("SIGKILL");
    }),
});
