import type { RuntimeId } from "@bolthole/contract";
import {
  EMPTY_RUNTIME_MANIFEST,
  type RuntimeManifest,
  decodeRuntimeManifest,
  isSameDigest,
  isSameRowSet,
} from "../commit/manifests.js";
import { RowSetDigest } from "../commit/row-set.js";
import { decodeRow } from "../commit/row.js";
import { type Engine, type RowEntry, type RowRange, type RowSetKey, StaleBaseError } from "../engine.js";
import { YieldBudget } from "../yield-budget.js";

const PAGE_ROWS = 512;
const PAGE_BYTES = 1 << 20;

const TABLES = ["input", "receipt"] as const;

/** The row set of a runtime, read row by row in pages with a short view for each, as long as a manifest counts it. */
export class StoredRows {
  private page: readonly RowEntry<RowSetKey>[] = [];
  private at = 0;
  /** The number of tables that were read to their end. */
  private completeTables = 0;
  private after: RowSetKey | undefined;
  private readonly digest = new RowSetDigest();
  private readonly budget = new YieldBudget();

  constructor(
    private readonly engine: Engine,
    private readonly runtimeId: RuntimeId,
    /** The manifest that counts the rows. Another row set is not read. */
    private readonly base: RuntimeManifest,
  ) {}

  /**
   * Returns the next row, which is not verified, or undefined after the last one. Throws `StaleBaseError` when the runtime has
   * another row set.
   */
  async peek(): Promise<RowEntry<RowSetKey> | undefined> {
    while (this.at === this.page.length) {
      const table = TABLES[this.completeTables];
      if (!table) return undefined;
      await this.readPage(table);
    }
    return this.page[this.at];
  }

  /** Moves on to the row after the one that `peek` returned. */
  skip(): void {
    this.at += 1;
  }

  /** Compares the manifest with the rows, after the last row. Returns the difference as text, if any. */
  difference(): string | undefined {
    const { digest, base } = this;
    if (!isSameDigest(digest.input, base.input)) return "does not match the input states that are there";
    if (!isSameDigest(digest.receipt, base.receipt)) return "does not match the boundary receipts that are there";
    return undefined;
  }

  private async readPage(table: (typeof TABLES)[number]): Promise<void> {
    const { engine, runtimeId, after } = this;
    const key = { table: "runtimeManifest", runtimeId } as const;
    const page: readonly RowEntry<RowSetKey>[] = await engine.view(async (view) => {
      const row = await view.get(key);
      const manifest = row ? decodeRow(key, row, decodeRuntimeManifest) : EMPTY_RUNTIME_MANIFEST;
      if (!isSameRowSet(manifest, this.base)) throw new StaleBaseError();
      return view.scan({ table, runtimeId, after } as RowRange, PAGE_ROWS, PAGE_BYTES) as Promise<
        RowEntry<RowSetKey>[]
      >;
    });
    const bytes = page.reduce((total, { row }) => total + row.value.length, 0);
    this.digest.add(page);
    this.page = page;
    this.at = 0;
    this.after = page.at(-1)?.key;
    if (page.length < PAGE_ROWS && bytes < PAGE_BYTES) {
      this.completeTables += 1;
      this.after = undefined;
    }
    const wait = this.budget.spend();
    if (wait) await wait;
  }
}
