import type { VersionedStore } from "@bolthole/contract";
import { StoreError } from "@bolthole/contract";
import { type Seen, loadInputs, loadRecord } from "../load/load-record.js";
import type { RecordKey } from "../ledger/lines.js";
import type { Findings } from "./findings.js";
import { nameOf } from "./model.js";
import type { Known, RuntimeModel } from "./runtime-model.js";

/** Compares everything that is stored of a runtime with what the ledger says; of receipts those that are named. */
export async function verifyRuntime(
  store: VersionedStore,
  model: RuntimeModel,
  receipts: Iterable<RecordKey>,
  findings: Findings,
): Promise<void> {
  let stored: Map<RecordKey, Seen>;
  const keys = new Set<RecordKey>(receipts);
  for (const [key] of model.open?.sent.effects ?? []) if (key.startsWith("receipt ")) keys.add(key);
  try {
    stored = await loadAll(store, model.runtimeId, keys);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    findings.add("sound answers", model.runtimeId, `after a restart: ${error.reason}: ${error.message}`);
    return;
  }
  const ofOpen = new Set<RecordKey>();
  if (model.open) {
    for (const [key] of model.open.sent.effects) ofOpen.add(key);
    model.open.isThere = isThere(model.open, model, stored, findings);
  }
  const isChecked = (key: RecordKey): boolean => !ofOpen.has(key) && (!key.startsWith("receipt ") || keys.has(key));
  for (const key of new Set([...model.records.keys(), ...stored.keys()])) {
    if (isChecked(key)) compare(model, key, stored.get(key), findings);
  }
}

async function loadAll(
  store: VersionedStore,
  runtimeId: string,
  receipts: ReadonlySet<RecordKey>,
): Promise<Map<RecordKey, Seen>> {
  const stored = await loadInputs(store, runtimeId);
  const keys = ["snapshot", "lifecycle", "ops", ...receipts];
  const loaded = await Promise.all(keys.map((key) => loadRecord(store, runtimeId, key)));
  loaded.forEach((seen, index) => {
    if (seen) stored.set(keys[index] ?? "", seen);
  });
  return stored;
}

function compare(model: RuntimeModel, key: RecordKey, seen: Seen | undefined, findings: Findings): void {
  const expected = model.records.get(key);
  if (expected?.digest === seen?.digest && expected?.version === seen?.version) return;
  const wanted = expected ? `version ${expected.version}` : "nothing";
  const found = !seen ? "nothing" : `version ${seen.version}`;
  const isOther = seen !== undefined && seen.version === expected?.version ? ", with other content" : "";
  findings.add("acknowledged", model.runtimeId, `${key}: expected ${wanted}, found ${found}${isOther}`);
}

/** Whether an operation without an answer has taken effect: all of its records, or none. */
function isThere(
  open: Known,
  model: RuntimeModel,
  stored: ReadonlyMap<RecordKey, Seen>,
  findings: Findings,
): boolean | undefined {
  const versions = new Set<string>();
  let written = 0;
  let untouched = 0;
  let strange = 0;
  for (const [key, digest] of open.sent.effects) {
    const before = model.records.get(key);
    const now = stored.get(key);
    if ((before?.digest ?? null) === digest) continue;
    if ((now?.digest ?? null) === digest) {
      written += 1;
      if (now) versions.add(now.version);
    } else if (now?.digest === before?.digest && now?.version === before?.version) {
      untouched += 1;
    } else {
      strange += 1;
    }
  }
  if (strange > 0)
    findings.add(
      "acknowledged",
      model.runtimeId,
      `${nameOf(open)}: ${String(strange)} records are as nobody wrote them`,
    );
  if ((written > 0 && untouched > 0) || versions.size > 1) {
    const share = `${String(written)} of its records are there at ${String(versions.size)} versions, ${String(untouched)} are not`;
    findings.add("whole operations", model.runtimeId, `${nameOf(open)}: ${share}`);
  }
  return written > 0 ? true : untouched > 0 ? false : undefined;
}
