import type { Kind } from "../run.js";
import { clock } from "./clock.js";
import { corrupt } from "./corrupt.js";
import { io, lie } from "./failing-calls.js";
import { fullExt4, fullTmpfs } from "./full-disk.js";
import { fuzz } from "./fuzz.js";
import { hostile } from "./hostile.js";
import { deadDisk, kill, power } from "./kill-power.js";
import { linear } from "./linear.js";
import { net } from "./network.js";
import { pause } from "./pause.js";
import { stop } from "./stop.js";

export const KINDS: Readonly<Record<string, Kind>> = Object.fromEntries(
  [kill, power, deadDisk, pause, stop, net, io, lie, fullExt4, fullTmpfs, fuzz, hostile, linear, corrupt, clock].map(
    (kind) => [kind.name, kind],
  ),
);

/** A daemon that breaks one promise on purpose. */
export interface Control {
  /** The kinds that must catch it. */
  readonly kinds: readonly string[];
  readonly description: string;
}

/** All controls. The name of a control is the name of its script in the folder `mutants`. */
export const CONTROLS: Readonly<Record<string, Control>> = {
  "no-sync": { kinds: ["power"], description: "LMDB never flushes" },
  "early-flush-answer": {
    kinds: ["power"],
    description: "responds when a commit is visible, and flushes 25 ms later",
  },
  "early-answer": { kinds: ["kill"], description: "responds before the commit is given to the operating system" },
  "forgotten-request-id": { kinds: ["kill", "net"], description: "stores no outcome for one request in four" },
  "double-apply": {
    kinds: ["kill", "net", "clock"],
    description: "does not look up the outcome of a repeated request",
  },
  "torn-operation": { kinds: ["kill"], description: "writes a group in two transactions" },
  "goes-on": { kinds: ["io"], description: "keeps using the environment after a failed write" },
  "unheard-failure": { kinds: ["io"], description: "acknowledges a write that failed" },
  "early-truncation": { kinds: ["stop"], description: "truncates its file before the writer is done" },
  "unawaited-work": { kinds: ["stop"], description: "closes LMDB while checks, backups and stagings are running" },
  "no-look-for-room": { kinds: ["full"], description: "gives LMDB transactions that may not fit on the disk" },
  "forgotten-changes": {
    kinds: ["kill"],
    description: "does not bring what was changed during a compaction into the new data file",
  },
  "dropped-row": { kinds: ["kill"], description: "leaves out one record of one operation in ten" },
  "forgotten-fence": { kinds: ["pause"], description: "does not check fence tokens" },
  "thrown-request": { kinds: ["fuzz"], description: "lets gRPC respond to bytes that are not a message" },
  "unguarded-streams": {
    kinds: ["hostile"],
    description: "gives requests to gRPC without limits, and responses without a budget",
  },
  "unchecked-bytes": { kinds: ["corrupt"], description: "serves rows and documents without checking checksums" },
  "unseen-checksum": {
    kinds: ["corrupt"],
    description: "subtracts the checksum of a replaced row from its manifest without verifying the row",
  },
  "fixed-horizon": { kinds: ["clock"], description: "deletes outcomes without moving the horizon" },
  "believed-clock": { kinds: ["clock"], description: "believes every clock immediately" },
  "shared-places": { kinds: ["clock"], description: "counts sealed ids among the outcomes of requests" },
  "lost-update": {
    kinds: ["linear"],
    description: "decides one change in three on rows that were read before the change reached the writer",
  },
  "stale-read": { kinds: ["linear"], description: "serves one read in eight from a state up to 100 ms old" },
};
