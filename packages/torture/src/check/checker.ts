import type { RuntimeSummary, VersionedStore } from "@bolthole/contract";
import { STORE, UNLEDGERED } from "../ledger/lines.js";
import type { Random } from "../random.js";
import type { Findings } from "./findings.js";
import type { Model } from "./model.js";
import type { RuntimeModel } from "./runtime-model.js";
import { verifyRuntime } from "./verify-runtime.js";

const OLD_RECEIPTS = 4;
const OLD_RUNTIMES = 2;
/** How many retired runtimes the last look goes through, receipt by receipt. */
const LAST_LOOK = 200;

/** Compares a store with the ledger. */
export class Checker {
  constructor(
    private readonly model: Model,
    private readonly findings: Findings,
    private readonly random: Random,
  ) {}

  /** Right after a restart, while operations without an answer are still as the fault left them. */
  async afterRestart(store: VersionedStore): Promise<void> {
    await this.model.oauth.verify(store, this.model.runtime(STORE), false);
    const retired = this.all(true);
    const old = Array.from({ length: OLD_RUNTIMES }, () => retired[this.random.below(retired.length)]);
    for (const model of [...this.all(false), ...old]) if (model) await this.look(store, model);
  }

  /** When every operation is settled. */
  async afterResolution(store: VersionedStore, unsettled: readonly RuntimeModel[]): Promise<void> {
    await this.ofRuntimes(store, unsettled);
    await this.model.oauth.verify(store, this.model.runtime(STORE), true);
    await this.countRecords(store);
  }

  /** The same, of nothing but these runtimes: in a store where others write besides. */
  async ofRuntimes(store: VersionedStore, runtimes: readonly RuntimeModel[] = this.inUse()): Promise<void> {
    for (const model of runtimes) await this.look(store, model);
    for (const model of this.inUse()) model.fresh.clear();
    this.model.judgeReads();
  }

  async lastLook(store: VersionedStore): Promise<number> {
    const retired = this.all(true).slice(-LAST_LOOK);
    for (const model of retired) await verifyRuntime(store, model, model.keysOf("receipt"), this.findings);
    return retired.length;
  }

  inUse(): RuntimeModel[] {
    return this.all(false);
  }

  /** Those with an operation that has no answer. */
  unsettled(): RuntimeModel[] {
    return this.all(false).filter(({ open }) => open !== undefined);
  }

  private all(isRetired: boolean): RuntimeModel[] {
    return [...this.model.runtimes.values()].filter(
      (model) => model.isRetired === isRetired && model.runtimeId !== STORE,
    );
  }

  private look(store: VersionedStore, model: RuntimeModel): Promise<void> {
    const receipts = model.keysOf("receipt");
    const keys = receipts.filter((key) => model.fresh.has(key));
    for (let count = 0; count < OLD_RECEIPTS && receipts.length > 0; count += 1) {
      keys.push(receipts[this.random.below(receipts.length)] ?? "");
    }
    return verifyRuntime(store, model, keys.filter(Boolean), this.findings);
  }

  /** The books of every runtime that ever was: nothing is missing, and nothing is there that nobody wrote. */
  private async countRecords(store: VersionedStore): Promise<void> {
    const missing = new Set([...this.model.runtimes.values()].filter(({ records }) => records.size > 0));
    for (let pageToken = ""; ;) {
      const page = await store.listRuntimes({ pageSize: 1000, pageToken });
      for (const summary of page.runtimes) {
        if (summary.runtimeId.startsWith(UNLEDGERED)) continue;
        const model = this.model.runtimes.get(summary.runtimeId);
        if (model) missing.delete(model);
        const expected = model ? booksOf(model) : "nothing";
        const found = booksListed(summary);
        if (found !== expected) {
          this.findings.add("acknowledged", summary.runtimeId, `listed with ${found}, expected ${expected}`);
        }
      }
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    for (const { runtimeId } of missing) this.findings.add("acknowledged", runtimeId, "is not listed any more");
  }
}

const books = (inputs: number, receipts: number, snapshot: boolean, lifecycle: boolean, ops: boolean): string =>
  `${String(inputs)} inputs, ${String(receipts)} receipts, snapshot ${String(snapshot)}, ` +
  `lifecycle ${String(lifecycle)}, ops ${String(ops)}`;

const booksListed = (summary: RuntimeSummary): string =>
  books(
    summary.inputCount,
    summary.receiptCount,
    summary.hasSessionSnapshot,
    summary.hasMachineLifecycle,
    summary.hasOpsLifecycle,
  );

const booksOf = (model: RuntimeModel): string =>
  books(
    model.keysOf("input").length,
    model.keysOf("receipt").length,
    model.records.has("snapshot"),
    model.records.has("lifecycle"),
    model.records.has("ops"),
  );
