import type { RuntimeId } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { damageOf } from "../audit/store-audit.js";
import { type RuntimeManifest, decodeRuntimeManifest } from "../commit/manifests.js";
import { type PlainRow, rowSlices } from "../commit/row-set.js";
import { compareKeys, isSameRow, isVerified, keyText, verifiedValue } from "../commit/row.js";
import { type Engine, type Row, type RowSetKey, type RowSlice, StaleBaseError, type StagedRows } from "../engine.js";
import { SliceBuilder, isSame } from "../input-rows/merged-rows.js";
import { RowSetHash } from "../input-rows/row-set-hash.js";
import { StoredRows } from "../input-rows/stored-rows.js";
import { type ReplacedRuntime, SINGLE_TABLES, areFew, isLostRowSet } from "./stored-runtime.js";

export interface RowComparison {
  readonly engine: Engine;
  readonly runtimeId: RuntimeId;
  readonly overwrite: boolean;
  readonly dryRun: boolean;
}

/**
 * The rows of an import. Few rows stay in memory. Many are compared with the stored ones while they arrive: as long as they are
 * equal, nothing is written; from the first difference on they are staged, with the equal ones before them. So a row set of any
 * size needs the memory of a page, and is written only if it differs.
 */
export class ComparedRows {
  private constructor(
    private readonly comparison: RowComparison,
    /** The rows, if they are few. */
    readonly few: readonly PlainRow<RowSetKey>[] | undefined,
    private readonly many: ManyRows | undefined,
    private stagedRows: StagedRows | undefined,
  ) {}

  /** Receives all rows. */
  static async receive(
    comparison: RowComparison,
    rows: AsyncGenerator<PlainRow<RowSetKey>, void>,
  ): Promise<ComparedRows> {
    const first: PlainRow<RowSetKey>[] = [];
    for (let bytes = 0; areFew(first.length, bytes);) {
      const next = await rows.next();
      if (next.done) return new ComparedRows(comparison, first, undefined, undefined);
      first.push(next.value);
      bytes += next.value.value.length;
    }
    const incoming = new IncomingRows(first, rows);
    const { many, staged } = await receiveMany(comparison, incoming);
    return new ComparedRows(comparison, undefined, many, staged);
  }

  get isEmpty(): boolean {
    return this.few?.length === 0;
  }

  /** Whether other records are stored and must stay. Then the rows were only checked, and no later state is looked at. */
  get isKept(): boolean {
    return this.many?.isKept ?? false;
  }

  /** Whether exactly these rows are stored and undamaged, for a runtime whose manifest counts exactly the stored ones. */
  async areStored(stored: ReplacedRuntime): Promise<boolean> {
    const { few, many } = this;
    if (!many) {
      const others = stored.few;
      if (!few || few.length !== others?.length) return false;
      return few.every((row, index) => {
        const other = others[index];
        return other !== undefined && compareKeys(other.key, row.key) === 0 && isSame(other, row);
      });
    }
    const { input, receipt } = stored.rows;
    if (input.rows + receipt.rows !== many.rows || !stored.manifest) return false;
    if (isSameRow(stored.manifest, many.comparedWith)) return many.isEqual;
    return (await this.hashOfStored(decodeRuntimeManifest(stored.manifest.value)))?.equals(many.hash) ?? false;
  }

  /**
   * Returns the staged rows for a commit over `stored`. `areStored` says whether these rows are stored. Throws
   * `StaleBaseError` when they are not stored any more, and BUSY when the rows would have to be received again.
   */
  async staged(stored: ReplacedRuntime, areStored: boolean): Promise<StagedRows> {
    const { engine, runtimeId } = this.comparison;
    if (!this.stagedRows && this.few) this.stagedRows = await engine.stageRows(runtimeId, rowSlices(this.few));
    if (!this.stagedRows) {
      if (!areStored || !stored.manifest) throw rowsChanged(runtimeId);
      const base = decodeRuntimeManifest(stored.manifest.value);
      this.stagedRows = await engine.stageRows(runtimeId, storedSlices(this.comparison, base, Infinity));
    }
    return this.stagedRows;
  }

  /** Call it after a commit that used the staged rows. */
  committed(): void {
    this.stagedRows = undefined;
  }

  /** Discards what is staged and was not committed. */
  async end(): Promise<void> {
    if (this.stagedRows) await this.comparison.engine.discardRows(this.stagedRows);
  }

  /** Returns the hash of the stored rows, or undefined when one of them is damaged. */
  private async hashOfStored(base: RuntimeManifest): Promise<Buffer | undefined> {
    const { engine, runtimeId } = this.comparison;
    const stored = new StoredRows(engine, runtimeId, base);
    const hash = new RowSetHash();
    for (let next = await stored.peek(); next; next = await stored.peek()) {
      const { key, row } = next;
      if (!isVerified(key, row)) return undefined;
      await hash.add(keyText(key), row.value);
      stored.skip();
    }
    return hash.digest();
  }
}

/** Many rows that were received. */
interface ManyRows {
  readonly rows: number;
  readonly hash: Buffer;
  /** The runtime manifest with whose rows they were compared. */
  readonly comparedWith: Row | undefined;
  readonly isEqual: boolean;
  readonly isKept: boolean;
}

async function receiveMany(
  comparison: RowComparison,
  incoming: IncomingRows,
): Promise<{ readonly many: ManyRows; readonly staged: StagedRows | undefined }> {
  const { engine, runtimeId, overwrite, dryRun } = comparison;
  const { manifest, base, exists } = await probe(engine, runtimeId);
  const isEqual = base !== undefined && (await skipEqual(comparison, base, incoming));
  const isKept = !isEqual && exists && !overwrite;
  let staged: StagedRows | undefined;
  if (!isEqual && !isKept && !dryRun) {
    const slices = async function* (): AsyncGenerator<RowSlice, void> {
      if (base && incoming.taken > 0) yield* storedSlices(comparison, base, incoming.taken);
      yield* incomingSlices(incoming);
    };
    staged = await unlessStale(runtimeId, () => engine.stageRows(runtimeId, slices()));
  } else {
    while (await incoming.peek()) await incoming.take();
  }
  const { hash } = incoming;
  const many = { rows: hash.rows, hash: hash.digest(), comparedWith: manifest, isEqual, isKept };
  return { many, staged };
}

/** Looks whether anything is stored of a runtime. `base` is its manifest, if that is undamaged. */
function probe(
  engine: Engine,
  runtimeId: RuntimeId,
): Promise<{
  readonly manifest: Row | undefined;
  readonly base: RuntimeManifest | undefined;
  readonly exists: boolean;
}> {
  return engine.view(async (view) => {
    const key = { table: "runtimeManifest", runtimeId } as const;
    const manifest = await view.get(key);
    if (manifest) {
      const base = damageOf(key, manifest) ? undefined : decodeRuntimeManifest(manifest.value);
      return { manifest, base, exists: true };
    }
    let exists = false;
    for (const table of SINGLE_TABLES) exists ||= (await view.get({ table, runtimeId })) !== undefined;
    try {
      for (const table of ["input", "receipt"] as const) {
        exists ||= (await view.scan({ table, runtimeId }, 1)).length > 0;
      }
    } catch (error) {
      if (!isLostRowSet(error)) throw error;
      exists = true;
    }
    return { manifest, base: undefined, exists };
  });
}

/** Takes rows as long as they equal the stored ones. Returns whether all of them do, and no others are stored. */
async function skipEqual(
  { engine, runtimeId }: RowComparison,
  base: RuntimeManifest,
  incoming: IncomingRows,
): Promise<boolean> {
  const stored = new StoredRows(engine, runtimeId, base);
  try {
    for (;;) {
      const row = await incoming.peek();
      const other = await unlessStale(runtimeId, () => stored.peek());
      if (!row || !other) return !row && !other && stored.difference() === undefined;
      if (compareKeys(other.key, row.key) !== 0 || !isSame(other, row)) return false;
      await incoming.take();
      stored.skip();
    }
  } catch (error) {
    if (!isLostRowSet(error)) throw error;
    return false;
  }
}

/** Yields stored rows as new ones, at most `count`. Throws `StaleBaseError` when `base` counts them no longer. */
async function* storedSlices(
  { engine, runtimeId }: RowComparison,
  base: RuntimeManifest,
  count: number,
): AsyncGenerator<RowSlice, void> {
  const stored = new StoredRows(engine, runtimeId, base);
  const slice = new SliceBuilder();
  for (let at = 0; at < count; at += 1) {
    const next = await stored.peek();
    if (!next) break;
    const value = verifiedValue(next.key, next.row);
    if (slice.isFullFor(value)) yield slice.take();
    slice.write({ key: next.key, value });
    stored.skip();
  }
  if (!slice.isEmpty) yield slice.take();
}

async function* incomingSlices(incoming: IncomingRows): AsyncGenerator<RowSlice, void> {
  const slice = new SliceBuilder();
  while (await incoming.peek()) {
    const row = await incoming.take();
    if (slice.isFullFor(row.value)) yield slice.take();
    slice.write(row);
  }
  if (!slice.isEmpty) yield slice.take();
}

/** Rows that arrive one by one, with the hash of those that were taken. */
class IncomingRows {
  readonly hash = new RowSetHash();
  private next: PlainRow<RowSetKey> | undefined;

  constructor(
    private readonly first: PlainRow<RowSetKey>[],
    private readonly rest: AsyncGenerator<PlainRow<RowSetKey>, void>,
  ) {
    first.reverse();
  }

  /** The number of rows that were taken. */
  get taken(): number {
    return this.hash.rows;
  }

  /** Returns the next row, or undefined after the last one. */
  async peek(): Promise<PlainRow<RowSetKey> | undefined> {
    this.next ??= this.first.pop();
    if (!this.next) {
      const next = await this.rest.next();
      if (!next.done) this.next = next.value;
    }
    return this.next;
  }

  /** Takes the row that `peek` returned. */
  async take(): Promise<PlainRow<RowSetKey>> {
    const { next } = this;
    if (!next) throw new RangeError("there is no row to take");
    this.next = undefined;
    await this.hash.add(keyText(next.key), next.value);
    return next;
  }
}

/** Runs work over stored rows that equal received ones, which are not kept. Throws BUSY when other rows are stored now. */
async function unlessStale<T>(runtimeId: RuntimeId, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StaleBaseError) throw rowsChanged(runtimeId);
    throw error;
  }
}

const rowsChanged = (runtimeId: RuntimeId): Error =>
  writeFailed(
    "BUSY",
    "other writers changed rows of the runtime that were equal to imported ones; nothing was changed by the import; import again",
    { runtimeId },
  );
