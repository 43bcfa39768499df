import type { Family } from "./family.js";
import { inputStates } from "./input-states.js";
import { lifecycleRecords } from "./lifecycle-records.js";
import { opsSnapshots } from "./ops-snapshots.js";
import { receipts } from "./receipts.js";
import { scalars } from "./scalars.js";
import { guards, sessions } from "./sessions.js";

/** By the names of their files, without `.jsonl`. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  sessions,
  guards,
  inputs: inputStates,
  lifecycle: lifecycleRecords,
  receipts,
  ops: opsSnapshots,
  scalars,
};
