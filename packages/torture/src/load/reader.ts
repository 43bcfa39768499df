import { StoreError, type VersionedStore } from "@bolthole/contract";
import { setTimeout as sleep } from "node:timers/promises";
import type { LedgerWriter } from "../ledger/ledger-writer.js";
import type { RecordKey } from "../ledger/lines.js";
import type { Random } from "../random.js";
import { type Seen, loadInputs, loadRecord } from "./load-record.js";

const ANSWER_MS = 250;
const EXCUSED: readonly string[] = ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "BUSY", "SHUTTING_DOWN"];

/** Reads runtimes while others write them: what it has seen may not be gone later. */
export async function readAlong(
  store: VersionedStore,
  runtimes: () => string,
  random: Random,
  ledger: LedgerWriter,
  halt: AbortSignal,
): Promise<void> {
  const noted = new Set<string>();
  while (!halt.aborted) {
    const runtime = runtimes();
    const call = { deadline: Date.now() + ANSWER_MS };
    const note = (key: RecordKey, seen: Seen | undefined): void => {
      if (!seen || noted.has(`${runtime} ${key} ${seen.version}`)) return;
      noted.add(`${runtime} ${key} ${seen.version}`);
      ledger.append({ t: "read", runtime, key, digest: seen.digest, version: seen.version, settled: false });
    };
    try {
      const key = random.pick(["snapshot", "lifecycle", "ops", "inputs", "inputs"]);
      if (key === "inputs") for (const [id, row] of await loadInputs(store, runtime, call)) note(id, row);
      else note(key, await loadRecord(store, runtime, key, call));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (!EXCUSED.includes(error.reason)) {
        ledger.append({ t: "wrong", runtime, what: `a read: ${error.reason}: ${error.message}` });
      }
      await sleep(5);
    }
    await sleep(1 + random.below(4));
  }
}
