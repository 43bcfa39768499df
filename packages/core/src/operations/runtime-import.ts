import type { RuntimeId } from "@bolthole/contract";
import type { RowEdit } from "../commit/committer.js";
import { ReadSet, keyText } from "../commit/row.js";
import { type PlainRow, isSingle, rowSlices } from "../commit/row-set.js";
import { commitReplacement } from "../commit/runtime-replacement.js";
import type {
  DocumentRowKey,
  RowKey,
  RowSetKey,
  RowSetReplacement,
  StagedDocument,
  StagedRows,
  Table,
} from "../engine.js";
import type { StoreContext } from "../store-context.js";
import type { ReplacedRuntime } from "./stored-runtime.js";

/** The most input rows and receipts that a commit writes or deletes one by one. More of them are replaced as a row set. */
const MAX_SINGLE_ROWS = 256;
/** The most bytes of their values: a few milliseconds of the event loop. */
const MAX_SINGLE_BYTES = 1 << 20;

/** The document of a row that is imported. */
export interface ImportedDocument {
  readonly key: DocumentRowKey;
  readonly bytes: Uint8Array;
}

/**
 * Replaces everything that is stored of a runtime in one commit. Many rows are staged before the commit, and only once: they
 * stay staged when another writer was first and the commit is attempted again. The stored rows are not decoded.
 */
export class RuntimeImport {
  private readonly single: readonly PlainRow<RowKey>[];
  private readonly rowSet: readonly PlainRow<RowSetKey>[];
  private staged: StagedRows | undefined;

  constructor(
    private readonly context: Pick<StoreContext, "damagedRuntimes" | "time">,
    private readonly runtimeId: RuntimeId,
    /** The new rows, in the order of their keys. */
    wanted: readonly PlainRow<RowKey>[],
    /** The documents of rows among them. */
    private readonly documents: readonly ImportedDocument[],
  ) {
    this.single = wanted.filter(({ key }) => isSingle(key));
    this.rowSet = wanted.filter((row): row is PlainRow<RowSetKey> => !isSingle(row.key));
  }

  /** Throws `StaleBaseError` when another runtime manifest is stored than the one that was read. */
  async commit(stored: ReplacedRuntime, manifestMatches: boolean): Promise<void> {
    const { context, runtimeId } = this;
    const { engine, corrections } = context.damagedRuntimes;
    const { manifest, entries } = stored;
    const replaceRows = await this.rowSetReplacement(stored);
    const written = replaceRows ? this.single : [...this.single, ...this.rowSet];
    const kept = new Set(written.map(({ key }) => keyText(key)));
    const staged = await this.stageDocuments();
    const reads = new ReadSet();
    const edits = written.map(({ key, value }): RowEdit => ({
      handle: reads.add(key),
      value,
      document: staged.get(key.table),
    }));
    for (const { key } of entries) {
      const isReplaced = replaceRows !== undefined && !isSingle(key);
      if (!isReplaced && !kept.has(keyText(key))) edits.push({ handle: reads.add(key), value: undefined });
    }
    let bytes = 0;
    for (const { value } of written) bytes += value.length;
    for (const document of staged.values()) bytes += document.bytes;
    try {
      await corrections.run(manifestMatches, (correction) =>
        commitReplacement(engine, context.time, { runtimeId, manifest, correction, reads, edits, replaceRows, bytes }),
      );
      this.staged = undefined;
    } catch (error) {
      for (const document of staged.values()) await engine.discard(document);
      throw error;
    }
  }

  private async stageDocuments(): Promise<Map<Table, StagedDocument>> {
    const { engine } = this.context.damagedRuntimes;
    const staged = new Map<Table, StagedDocument>();
    try {
      for (const { key, bytes } of this.documents) staged.set(key.table, await engine.stage(key, undefined, [bytes]));
      return staged;
    } catch (error) {
      for (const document of staged.values()) await engine.discard(document);
      throw error;
    }
  }

  /** Discards what is staged and was not committed. */
  async end(): Promise<void> {
    if (this.staged) await this.context.damagedRuntimes.engine.discardRows(this.staged);
  }

  /** Returns undefined when the rows are few enough to be written one by one. */
  private async rowSetReplacement({ entries, isRowSetLost }: ReplacedRuntime): Promise<RowSetReplacement | undefined> {
    const { runtimeId, rowSet } = this;
    const stored = entries.filter(({ key }) => !isSingle(key)).map(({ row }) => row);
    if (rowSet.length === 0) return stored.length === 0 && !isRowSetLost ? undefined : { runtimeId, rows: undefined };
    if (!isRowSetLost && areFew(stored) && areFew(rowSet)) return undefined;
    this.staged ??= await this.context.damagedRuntimes.engine.stageRows(runtimeId, rowSlices(rowSet));
    return { runtimeId, rows: this.staged };
  }
}

/** Whether rows are written or deleted one by one. */
const areFew = (rows: readonly { readonly value: Uint8Array }[]): boolean =>
  rows.length <= MAX_SINGLE_ROWS && rows.reduce((total, { value }) => total + value.length, 0) <= MAX_SINGLE_BYTES;
