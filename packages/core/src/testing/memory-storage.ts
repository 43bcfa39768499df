import { STORE_MANIFEST_KEY, NO_ROWS, updateDigest } from "../commit/manifests.js";
import { restoredHorizon, restoredStoreManifest } from "../commit/restored-store.js";
import { ReadSet } from "../commit/row.js";
import { type Engine, type RowEntry, pagesOf } from "../engine.js";
import { MemoryEngine } from "../memory-engine.js";
import type { SimulatedStorage } from "./clock-simulation.js";

/** The storage of a simulated store in memory. A backup is a copy of the rows that belong to no runtime. */
export class MemoryStorage implements SimulatedStorage {
  private engine: Engine = new MemoryEngine();
  private backup: readonly RowEntry[] = [];

  open(): Promise<Engine> {
    return Promise.resolve(this.engine);
  }

  async backUp(): Promise<void> {
    this.backup = await this.engine.view(async (view) => {
      const rows: RowEntry[] = [];
      for (const key of [STORE_MANIFEST_KEY, { table: "oauth" } as const]) {
        const row = await view.get(key);
        if (row) rows.push({ key, row });
      }
      for await (const page of pagesOf(view, { table: "outcome" })) rows.push(...page);
      return rows;
    });
  }

  async restore(nowMs: number): Promise<number> {
    const options = { keepsOauth: true, nowMs };
    const stored = this.backup.find(({ key }) => key.table === "storeManifest")?.row;
    const horizon = restoredHorizon(stored, options);
    const isKept = ({ key }: RowEntry): boolean =>
      key.table === "oauth" || (key.table === "outcome" && key.requestId > horizon.firstRequestId);
    const rows = this.backup.filter(isKept);
    const outcomes = rows.filter(({ key }) => key.table === "outcome");
    const kept = outcomes.reduce((digest, { row }) => updateDigest(digest, undefined, row), NO_ROWS);
    rows.push({ key: STORE_MANIFEST_KEY, row: restoredStoreManifest(stored, options, horizon, kept) });
    this.engine = new MemoryEngine();
    const reads = new ReadSet();
    const writes = rows.map(({ key, row }) => ({ handle: reads.add(key), row }));
    await this.engine.commit({ reads, bytes: 0, decide: () => ({ writes, result: undefined, freesSpace: false }) });
    return horizon.horizonMs;
  }
}
