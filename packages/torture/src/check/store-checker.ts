import { type RuntimeSummary, StoreError, type VersionedStore } from "@bolthole/contract";
import { type RecordKey, STORE, UNLEDGERED } from "../ledger.js";
import { type StoredRecord, loadInputs, loadRecord } from "../load/records.js";
import type { Random } from "../random.js";
import type { Violations } from "../run.js";
import { type LedgerOperation, type LedgerModel, type RuntimeModel, nameOf } from "./ledger-model.js";

const OLD_RECEIPTS = 4;
const OLD_RUNTIMES = 2;
/** The number of retired runtimes that are checked at the end of a run, with every receipt. */
const RETIRED_CHECKED = 200;

/** Compares a store with the ledger. Differences become violations. */
export class StoreChecker {
  constructor(
    private readonly model: LedgerModel,
    private readonly violations: Violations,
    private readonly random: Random,
  ) {}

  /** Checks right after a restart, before any operation without a response is settled. */
  async afterRestart(store: VersionedStore): Promise<void> {
    await this.model.oauth.verify(store, this.model.runtime(STORE), false);
    const retired = this.all(true);
    const old = Array.from({ length: OLD_RUNTIMES }, () => retired[this.random.below(retired.length)]);
    for (const model of [...this.all(false), ...old]) if (model) await this.checkRuntime(store, model);
  }

  /** Checks these runtimes, the OAuth value and the record counts when every operation is settled. */
  async afterSettling(store: VersionedStore, unsettled: readonly RuntimeModel[]): Promise<void> {
    await this.checkRuntimes(store, unsettled);
    await this.model.oauth.verify(store, this.model.runtime(STORE), true);
    await this.countRecords(store);
  }

  /** Checks these runtimes only, for a store in which other programs write too. Every operation must be settled. */
  async checkRuntimes(store: VersionedStore, runtimes: readonly RuntimeModel[] = this.inUse()): Promise<void> {
    for (const model of runtimes) await this.checkRuntime(store, model);
    for (const model of this.inUse()) model.fresh.clear();
    this.model.judgeReads();
  }

  /** Checks the last retired runtimes with every receipt. Returns their number. */
  async checkRetired(store: VersionedStore): Promise<number> {
    const retired = this.all(true).slice(-RETIRED_CHECKED);
    for (const model of retired) await verifyRuntime(store, model, model.keysOf("receipt"), this.violations);
    return retired.length;
  }

  inUse(): RuntimeModel[] {
    return this.all(false);
  }

  /** Returns the runtimes that have an operation without a response. */
  unsettled(): RuntimeModel[] {
    return this.all(false).filter(({ open }) => open !== undefined);
  }

  private all(isRetired: boolean): RuntimeModel[] {
    return [...this.model.runtimes.values()].filter(
      (model) => model.isRetired === isRetired && model.runtimeId !== STORE,
    );
  }

  private checkRuntime(store: VersionedStore, model: RuntimeModel): Promise<void> {
    const receipts = model.keysOf("receipt");
    const keys = receipts.filter((key) => model.fresh.has(key));
    for (let count = 0; count < OLD_RECEIPTS && receipts.length > 0; count += 1) {
      keys.push(receipts[this.random.below(receipts.length)] ?? "");
    }
    return verifyRuntime(store, model, keys.filter(Boolean), this.violations);
  }

  /** Compares the listed record counts of every runtime with the ledger: no record is missing, and none is extra. */
  private async countRecords(store: VersionedStore): Promise<void> {
    const missing = new Set([...this.model.runtimes.values()].filter(({ records }) => records.size > 0));
    for (let pageToken = ""; ;) {
      const page = await store.listRuntimes({ pageSize: 1000, pageToken });
      for (const summary of page.runtimes) {
        if (summary.runtimeId.startsWith(UNLEDGERED)) continue;
        const model = this.model.runtimes.get(summary.runtimeId);
        if (model) missing.delete(model);
        const expected = model ? expectedCounts(model) : "nothing";
        const found = listedCounts(summary);
        if (found !== expected) {
          this.violations.add("acknowledged", summary.runtimeId, `list: expected ${expected}, found ${found}`);
        }
      }
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    for (const { runtimeId } of missing) this.violations.add("acknowledged", runtimeId, "is not listed any more");
  }
}

const recordCounts = (inputs: number, receipts: number, snapshot: boolean, lifecycle: boolean, ops: boolean): string =>
  `${String(inputs)} inputs, ${String(receipts)} receipts, snapshot ${String(snapshot)}, ` +
  `lifecycle ${String(lifecycle)}, ops ${String(ops)}`;

const listedCounts = (summary: RuntimeSummary): string =>
  recordCounts(
    summary.inputCount,
    summary.receiptCount,
    summary.hasSessionSnapshot,
    summary.hasMachineLifecycle,
    summary.hasOpsLifecycle,
  );

const expectedCounts = (model: RuntimeModel): string =>
  recordCounts(
    model.keysOf("input").length,
    model.keysOf("receipt").length,
    model.records.has("snapshot"),
    model.records.has("lifecycle"),
    model.records.has("ops"),
  );

/** Compares all records of a runtime with the ledger; receipts only when they are named. */
async function verifyRuntime(
  store: VersionedStore,
  model: RuntimeModel,
  receipts: Iterable<RecordKey>,
  violations: Violations,
): Promise<void> {
  let stored: Map<RecordKey, StoredRecord>;
  const keys = new Set<RecordKey>(receipts);
  for (const [key] of model.open?.sent.effects ?? []) if (key.startsWith("receipt ")) keys.add(key);
  try {
    stored = await loadAll(store, model.runtimeId, keys);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    violations.add("correct responses", model.runtimeId, `a read failed: ${error.reason}: ${error.message}`);
    return;
  }
  const ofOpen = new Set<RecordKey>();
  if (model.open) {
    for (const [key] of model.open.sent.effects) ofOpen.add(key);
    model.open.isStored = isStored(model.open, model, stored, violations);
  }
  const isChecked = (key: RecordKey): boolean => !ofOpen.has(key) && (!key.startsWith("receipt ") || keys.has(key));
  for (const key of new Set([...model.records.keys(), ...stored.keys()])) {
    if (isChecked(key)) compare(model, key, stored.get(key), violations);
  }
}

async function loadAll(
  store: VersionedStore,
  runtimeId: string,
  receipts: ReadonlySet<RecordKey>,
): Promise<Map<RecordKey, StoredRecord>> {
  const stored = await loadInputs(store, runtimeId);
  const keys = ["snapshot", "lifecycle", "ops", ...receipts];
  const loaded = await Promise.all(keys.map((key) => loadRecord(store, runtimeId, key)));
  loaded.forEach((seen, index) => {
    if (seen) stored.set(keys[index] ?? "", seen);
  });
  return stored;
}

function compare(model: RuntimeModel, key: RecordKey, seen: StoredRecord | undefined, violations: Violations): void {
  const expected = model.records.get(key);
  if (expected?.digest === seen?.digest && expected?.version === seen?.version) return;
  const wanted = expected ? `version ${expected.version}` : "nothing";
  const found = !seen ? "nothing" : `version ${seen.version}`;
  const isOther = seen !== undefined && seen.version === expected?.version ? ", with other content" : "";
  violations.add("acknowledged", model.runtimeId, `${key}: expected ${wanted}, found ${found}${isOther}`);
}

/**
 * Whether an operation without a response was applied; undefined when its records do not show it. Reports an operation
 * of which only some records were written.
 */
function isStored(
  open: LedgerOperation,
  model: RuntimeModel,
  stored: ReadonlyMap<RecordKey, StoredRecord>,
  violations: Violations,
): boolean | undefined {
  const versions = new Set<string>();
  let written = 0;
  let untouched = 0;
  let unexpected = 0;
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
      unexpected += 1;
    }
  }
  if (unexpected > 0)
    violations.add(
      "acknowledged",
      model.runtimeId,
      `${nameOf(open)}: ${String(unexpected)} records are in a state that no client wrote`,
    );
  if ((written > 0 && untouched > 0) || versions.size > 1) {
    const share = `${String(written)} of its records are stored, at ${String(versions.size)} versions, and ${String(untouched)} are not`;
    violations.add("all or nothing", model.runtimeId, `${nameOf(open)}: ${share}`);
  }
  return written > 0 ? true : untouched > 0 ? false : undefined;
}
