import { join } from "node:path";
import type { Kind } from "./kind.js";

/** SIGKILL: the process is gone, what it gave to the operating system is not. */
export const kill: Kind = {
  name: "kill",
  description: "SIGKILL at random instants",
  acknowledgedBefore: 50,
  withinMs: 500,
  endings: [],
  excuses: [],
  isOnOwnDisk: false,
  prepare: (folder) =>
    Promise.resolve({
      data: join(folder, "data"),
      strike: ({ daemon }) => daemon.stop("SIGKILL"),
      recover: () => Promise.resolve(),
      dispose: () => Promise.resolve(),
    }),
};
