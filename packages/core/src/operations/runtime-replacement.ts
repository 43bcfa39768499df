import type { RuntimeId } from "@bolthole/contract";
import type { RowEdit } from "../commit/committer.js";
import { ReadSet, keyText } from "../commit/row.js";
import { type PlainRow, isSingle, rowSlices } from "../commit/row-set.js";
import {
  type Row,
  type RowKey,
  type RowSetKey,
  type RowSetReplacement,
  StaleBaseError,
  type StagedRows,
} from "../engine.js";
import type { StoreContext } from "../store-context.js";

/** The most input rows and receipts that a commit writes or deletes one by one. More of them are replaced as a row set. */
export const MAX_SINGLE_ROWS = 256;

/** The state that a replacement is bound to. */
export interface ReplacedState {
  readonly manifest: Row | undefined;
  /** The sequence of the snapshot row. */
  readonly snapshot: number | undefined;
  /** The keys of all stored rows. Undefined when they are more than `MAX_SINGLE_ROWS`. */
  readonly keys: readonly RowKey[] | undefined;
}

/**
 * Replaces everything that is stored of a runtime in one commit. Many rows are staged before the commit, and only once: they
 * stay staged when another writer was first and the commit is attempted again.
 */
export class RuntimeReplacement {
  private readonly single: readonly PlainRow<RowKey>[];
  private readonly rowSet: readonly PlainRow<RowSetKey>[];
  private staged: StagedRows | undefined;

  constructor(
    private readonly context: StoreContext,
    private readonly method: string,
    private readonly runtimeId: RuntimeId,
    /** The new rows, in the order of their keys. */
    wanted: readonly PlainRow<RowKey>[],
    /** The document of the snapshot row among them. */
    private readonly document: Uint8Array | undefined,
  ) {
    this.single = wanted.filter(({ key }) => isSingle(key));
    this.rowSet = wanted.filter(isOfRowSet);
  }

  /** Throws `StaleBaseError` when the runtime manifest is not the one of this state any more. */
  async commit(stored: ReplacedState): Promise<void> {
    const { context, method, runtimeId } = this;
    const reads = new ReadSet();
    const manifest = reads.add({ table: "runtimeManifest", runtimeId });
    const replaceRows = await this.rowSetReplacement(stored);
    const document = this.document && (await context.engine.stage(runtimeId, stored.snapshot, [this.document]));
    const written = replaceRows ? this.single : [...this.single, ...this.rowSet];
    const edits: RowEdit[] = written.map(({ key, value }) => ({
      handle: reads.add(key),
      value,
      document: key.table === "snapshot" ? document : undefined,
    }));
    for (const key of obsoleteKeys(runtimeId, written, replaceRows ? [] : stored.keys)) {
      edits.push({ handle: reads.add(key), value: undefined });
    }
    try {
      await context.committer.commit({
        method,
        request: { runtimeId },
        args: {},
        reads,
        bytes: written.reduce((total, { value }) => total + value.length, document?.bytes ?? 0),
        replaceRows,
        decide: (rows) => {
          if (rows.get(manifest)?.sequence !== stored.manifest?.sequence) throw new StaleBaseError();
          return edits;
        },
      });
      this.staged = undefined;
    } catch (error) {
      if (document) await context.engine.discard(document);
      throw error;
    }
  }

  /** Discards what is staged and was not committed. */
  async end(): Promise<void> {
    if (this.staged) await this.context.engine.discardRows(this.staged);
  }

  /** Returns undefined when the rows are few enough to be written one by one. */
  private async rowSetReplacement({ keys }: ReplacedState): Promise<RowSetReplacement | undefined> {
    const { context, runtimeId, rowSet } = this;
    if (rowSet.length === 0) return keys?.every(isSingle) ? undefined : { runtimeId, rows: undefined };
    if (keys && rowSet.length <= MAX_SINGLE_ROWS) return undefined;
    this.staged ??= await context.engine.stageRows(runtimeId, rowSlices(rowSet));
    return { runtimeId, rows: this.staged };
  }
}

const isOfRowSet = (row: PlainRow<RowKey>): row is PlainRow<RowSetKey> => !isSingle(row.key);

/** Returns the keys of rows that may be stored and are not written. Deleting an absent row changes nothing. */
function obsoleteKeys(
  runtimeId: RuntimeId,
  written: readonly PlainRow<RowKey>[],
  stored: readonly RowKey[] = [],
): RowKey[] {
  const kept = new Set(written.map(({ key }) => keyText(key)));
  const single = (["snapshot", "lifecycle", "ops"] as const).map((table): RowKey => ({ table, runtimeId }));
  return [...single, ...stored].filter((key) => !kept.has(keyText(key)));
}
