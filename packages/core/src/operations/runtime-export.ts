import type { ExportedPart, Finding, RunBoundaryReceipt, RuntimeId, StoredInputState } from "@bolthole/contract";
import { type RuntimeContents, StoreError, partsOf, readFailed } from "@bolthole/contract";
import { checkOpsSnapshot, readReceipt } from "@bolthole/json";
import { RuntimeAudit } from "../audit/store-audit.js";
import { decodeRuntimeManifest, isSameRowSet } from "../commit/manifests.js";
import type { RowSetDigest } from "../commit/row-set.js";
import { damaged, decodeRow, describeKey, isDocumentRowKey, isSameRow } from "../commit/row.js";
import { isOpsFacts } from "../documents/ops-facts.js";
import { decodeSnapshotFacts } from "../documents/snapshot-facts.js";
import type { DocumentRowKey, KeyOf, Row, RowEntry, RowKey, RowSetKey, View } from "../engine.js";
import type { HeldViews } from "../held-views.js";
import { decodeEntry } from "../input-rows/input-load.js";
import { LONG_ROW_BYTES } from "../input-rows/long-rows.js";
import { type PageEntry, type PagedRows, RowPages, isLeftOut } from "../input-rows/row-pages.js";
import type { StoreContext } from "../store-context.js";
import { YieldBudget } from "../yield-budget.js";
import { SINGLE_TABLES, digestsOf, documentOf, isCountedBy, isLostRowSet } from "./stored-runtime.js";

type Pages = RowPages<RowSetKey>;
type SingleRecords = Pick<RuntimeContents, "session" | "lifecycle" | "ops">;

/**
 * Returns the parts of a runtime as of one moment, or undefined when nothing is stored. The documents are in memory, the rows
 * are read page by page. Throws DAMAGED_RECORD for any damage, or with `salvage` reports it, and `StaleBaseError` when the
 * runtime was written to before its first part is returned.
 */
export async function exportParts(
  context: StoreContext,
  views: HeldViews,
  runtimeId: RuntimeId,
  salvage: boolean,
): Promise<AsyncIterable<ExportedPart> | undefined> {
  const runtime = salvage ? new SalvagedRuntime(context, runtimeId) : new WholeRuntime(context, runtimeId);
  const pages: Pages = new RowPages(views, runtime);
  try {
    const first = await pages.next();
    if (runtime.isNothing && first.length === 0) {
      pages.close();
      return undefined;
    }
    return partsFrom(await runtime.records(), first, pages, runtime);
  } catch (error) {
    pages.close();
    throw error;
  }
}

async function* partsFrom(
  records: SingleRecords,
  first: readonly PageEntry[],
  pages: Pages,
  runtime: ExportedRows,
): AsyncGenerator<ExportedPart, void> {
  try {
    yield* partsOf({ ...records, inputs: [], receipts: [] });
    for (let page = first; page.length > 0; page = await pages.next()) {
      const inputs: StoredInputState[] = [];
      const receipts: RunBoundaryReceipt[] = [];
      const budget = new YieldBudget();
      for (const entry of page) {
        if (isOf("input", entry)) {
          const input = await runtime.decoded(entry, pages, () => decodeEntry(runtime.context, pages, entry));
          if (input) inputs.push(input);
        } else {
          const { key, row } = entry;
          const receipt = await runtime.decoded(entry, pages, () => decodeRow(key, row, readReceipt));
          if (receipt) receipts.push(receipt);
        }
        const wait = budget.spend();
        if (wait) await wait;
      }
      if (inputs.length > 0) yield { kind: "inputs", inputs };
      if (receipts.length > 0) yield { kind: "receipts", receipts };
    }
    for (const finding of runtime.findings()) yield { kind: "finding", finding };
  } finally {
    pages.close();
  }
}

const isOf = <T extends RowSetKey["table"]>(table: T, entry: PageEntry): entry is PageEntry<KeyOf<T>> =>
  entry.key.table === table;

/** A runtime that is exported: its rows, and what an export does about damage. */
abstract class ExportedRows implements PagedRows<RowSetKey> {
  readonly tables = ["input", "receipt"] as const;
  protected readonly singles: RowEntry[] = [];
  protected manifest: Row | undefined;

  constructor(
    readonly context: StoreContext,
    readonly runtimeId: RuntimeId,
  ) {}

  /** Whether nothing is stored, provided that there is no row either. */
  get isNothing(): boolean {
    return !this.manifest && this.singles.length === 0;
  }

  async start(view: View): Promise<void> {
    for (const table of SINGLE_TABLES) {
      const key = { table, runtimeId: this.runtimeId };
      const row = await this.scan(table, () => view.get(key));
      if (row) this.singles.push({ key, row });
    }
    this.manifest = await this.scan("runtimeManifest", () => view.get(this.key));
  }

  async isCurrent(view: View): Promise<boolean> {
    const row = await this.manifestNow(view);
    if (isSameRow(row, this.manifest)) return true;
    if (!row || !this.manifest) return false;
    const [now, then] = [row, this.manifest].map((one) => decodeRow(this.key, one, decodeRuntimeManifest));
    return now !== undefined && then !== undefined && isSameRowSet(now, then);
  }

  changed(): Error {
    const text =
      "input states or receipts were written while the runtime was exported, and the export took too long to show one " +
      "state; discard what was received, and export again";
    return readFailed("BUSY", text, { runtimeId: this.runtimeId });
  }

  /** Returns the records of which there is at most one each. */
  async records(): Promise<SingleRecords> {
    let session: SingleRecords["session"];
    let lifecycle: SingleRecords["lifecycle"];
    let ops: SingleRecords["ops"];
    for (const entry of this.singles) {
      const { key, row } = entry;
      if (!isDocumentRowKey(key)) {
        lifecycle = decodeRow(key, row, (value) => value);
      } else if (key.table === "snapshot") {
        const { profile } = decodeRow(key, row, decodeSnapshotFacts);
        const snapshot = await this.document({ key, row });
        session = snapshot && { snapshot, profile };
      } else if (isOpsFacts(row.value)) {
        ops = await this.document({ key, row });
      } else {
        ops = decodeRow(key, row, (value) => {
          checkOpsSnapshot(value);
          return Buffer.from(value);
        });
      }
    }
    return { session, lifecycle, ops };
  }

  protected get key(): KeyOf<"runtimeManifest"> {
    return { table: "runtimeManifest", runtimeId: this.runtimeId };
  }

  protected manifestNow(view: View): Promise<Row | undefined> {
    return view.get(this.key);
  }

  /** Returns the document of a row, or undefined when it is left out. */
  protected document(entry: RowEntry<DocumentRowKey>): Promise<Buffer | undefined> {
    return documentOf(this.context, entry);
  }

  abstract scan<T>(table: RowKey["table"], scan: () => Promise<T>): Promise<T | undefined>;
  abstract end(found: RowSetDigest): void;
  /** Returns the decoded row, or undefined when it is left out. */
  abstract decoded<T>(entry: PageEntry, pages: Pages, decode: () => T | Promise<T>): Promise<T | undefined>;
  /** Returns the damage of what was left out, after the last row. */
  abstract findings(): readonly Finding[];
}

/** A runtime that is exported as a whole. Damage ends the export. */
class WholeRuntime extends ExportedRows {
  scan<T>(_table: RowKey["table"], scan: () => Promise<T>): Promise<T> {
    return scan();
  }

  override async start(view: View): Promise<void> {
    await super.start(view);
    // A manifest that cannot be read could not tell later whether rows were written.
    if (this.manifest) decodeRow(this.key, this.manifest, decodeRuntimeManifest);
  }

  end({ input, receipt }: RowSetDigest): void {
    const { runtimeId, manifest, singles } = this;
    const isEmpty = !manifest && singles.length === 0;
    if (isEmpty && input.rows === 0 && receipt.rows === 0) return;
    if (isCountedBy(runtimeId, manifest, { ...digestsOf(singles), input, receipt })) return;
    throw damaged(this.key, "does not match the rows that are there");
  }

  async decoded<T>(_entry: PageEntry, _pages: Pages, decode: () => T | Promise<T>): Promise<T> {
    const decoded = decode();
    return decoded instanceof Promise ? await decoded : decoded;
  }

  findings(): readonly Finding[] {
    return [];
  }
}

/** A runtime whose readable records are exported. Damage is reported. */
class SalvagedRuntime extends ExportedRows {
  /** The form of a long row is checked when a worker decodes it. */
  private readonly audit = new RuntimeAudit(this.runtimeId, LONG_ROW_BYTES - 1);
  private readonly unreadable: Finding[] = [];
  private readonly ofRows: Finding[] = [];
  private readonly ofDocuments: Finding[] = [];
  private isManifestUnreadable = false;

  override get isNothing(): boolean {
    return super.isNothing && this.unreadable.length === 0;
  }

  override async start(view: View): Promise<void> {
    await super.start(view);
    if (this.manifest) this.isValid({ key: this.key, row: this.manifest });
    const valid = this.singles.filter((entry) => this.isValid(entry));
    this.singles.splice(0, Infinity, ...valid);
  }

  override async isCurrent(view: View): Promise<boolean> {
    try {
      return await super.isCurrent(view);
    } catch (error) {
      damageText(error);
      return false;
    }
  }

  /** Reports rows that cannot be read because the data file is damaged where they should be. */
  async scan<T>(table: RowKey["table"], scan: () => Promise<T>): Promise<T | undefined> {
    try {
      return await scan();
    } catch (error) {
      const code = isLostRowSet(error) ? "row-space-damaged" : "pages-damaged";
      const { runtimeId } = this;
      this.isManifestUnreadable ||= table === "runtimeManifest";
      this.unreadable.push({ code, runtimeId, text: `${table} rows: ${damageText(error)}` });
      return undefined;
    }
  }

  end(): void {
    // The audit compares the manifest with the rows.
  }

  async decoded<T>(entry: PageEntry, pages: Pages, decode: () => T | Promise<T>): Promise<T | undefined> {
    const row = isLeftOut(entry) ? await pages.readAgain(entry) : entry.row;
    if (!this.isValid({ key: entry.key, row })) return undefined;
    try {
      return await decode();
    } catch (error) {
      const { runtimeId } = this;
      const record = describeKey(entry.key);
      this.ofRows.push({ code: "row-unreadable", runtimeId, record, text: damageText(error) });
      return undefined;
    }
  }

  findings(): readonly Finding[] {
    return [...this.unreadable, ...this.ofRows, ...this.audit.end(), ...this.ofDocuments];
  }

  protected override async manifestNow(view: View): Promise<Row | undefined> {
    if (this.isManifestUnreadable) return undefined;
    return super.manifestNow(view);
  }

  protected override async document(entry: RowEntry<DocumentRowKey>): Promise<Buffer | undefined> {
    try {
      return await super.document(entry);
    } catch (error) {
      const { runtimeId } = this;
      const record = describeKey(entry.key);
      this.ofDocuments.push({ code: "document-damaged", runtimeId, record, text: damageText(error) });
      return undefined;
    }
  }

  private isValid({ key, row }: RowEntry): boolean {
    const damage = this.audit.take(key, row);
    if (damage) this.ofRows.push(damage);
    return !damage;
  }
}

/** Returns the text of a DAMAGED_RECORD error. Throws any other error. */
function damageText(error: unknown): string {
  if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return error.message;
  throw error;
}
