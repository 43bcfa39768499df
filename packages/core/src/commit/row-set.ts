import type { RowEntry, RowKey, RowSetKey, RowSlice, StagedRows } from "../engine.js";
import { YieldBudget } from "../yield-budget.js";
import { NO_ROWS, type RuntimeManifest, updateDigest } from "./manifests.js";
import { compareKeys, makeRow } from "./row.js";

/*
 * A row set: the input rows and receipts of one runtime. Their number has no limit, so everything here works in slices.
 */

/** A staged row set that has uploaded input rows and all other rows of the runtime. */
export interface MergedRows {
  readonly staged: StagedRows;
  /** The manifest of the row set that the rows were merged with. The staged one replaces that row set only. */
  readonly base: RuntimeManifest;
  /** For each uploaded row the sequence that it kept because it equals the stored row, or `WRITTEN`. Empty when all are written. */
  readonly keptSequences: readonly number[];
  /** Whether any row is written. If not, the staged row set is not needed. */
  readonly writesRows: boolean;
}

/** Thrown when the runtime has another row set than the one that uploaded rows were merged with. */
export class StaleRowsError extends Error {
  override readonly name = "StaleRowsError";
}

/** The digests of a row set that is staged slice by slice. */
export class RowSetDigest {
  input = NO_ROWS;
  receipt = NO_ROWS;

  add(entries: readonly RowEntry<RowSetKey>[]): void {
    for (const { key, row } of entries) this[key.table] = updateDigest(this[key.table], undefined, row);
  }
}

/** Whether a row belongs to no row set: a runtime has at most one of its kind. */
export const isSingle = ({ table }: RowKey): boolean => table !== "input" && table !== "receipt";

/** A row without sequence and checksum. */
export interface PlainRow<K> {
  readonly key: K;
  readonly value: Uint8Array;
}

/** The limits of one slice: a millisecond or two of the event loop. */
const SLICE_ROWS = 256;
const SLICE_BYTES = 512 << 10;

/** Divides ordered rows into slices for `Engine.stageRows`. */
// eslint-disable-next-line @typescript-eslint/require-await -- the rows are in memory; the port allows waiting for them
export async function* rowSlices(rows: readonly PlainRow<RowSetKey>[]): AsyncGenerator<RowSlice, void> {
  let from = 0;
  let bytes = 0;
  for (const [index, { value }] of rows.entries()) {
    if (index > from && (index - from === SLICE_ROWS || bytes + value.length > SLICE_BYTES)) {
      yield sliceOf(rows.slice(from, index));
      from = index;
      bytes = 0;
    }
    bytes += value.length;
  }
  if (from < rows.length) yield sliceOf(rows.slice(from));
}

const sliceOf =
  (rows: readonly PlainRow<RowSetKey>[]): RowSlice =>
  (sequence) =>
    rows.map(({ key, value }) => ({ key, row: makeRow(key, sequence, value) }));

/** The number of rows in a run, which is sorted in a few milliseconds. */
const RUN_ROWS = 2048;

/** Returns the rows in the order of their keys. Of rows with the same key, the last one wins. */
export async function orderRows<R extends PlainRow<RowKey>>(rows: readonly R[]): Promise<R[]> {
  const budget = new YieldBudget();
  let runs: R[][] = [];
  for (let at = 0; at < rows.length; at += RUN_ROWS) {
    runs.push(rows.slice(at, at + RUN_ROWS).sort((a, b) => compareKeys(a.key, b.key)));
    await budget.spend();
  }
  while (runs.length > 1) {
    const merged: R[][] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(await mergeRuns(runs[at] ?? [], runs[at + 1] ?? [], budget));
    runs = merged;
  }
  const [sorted = []] = runs;
  const unique: R[] = [];
  for (const row of sorted) {
    const before = unique.at(-1);
    if (before && compareKeys(before.key, row.key) === 0) unique.pop();
    unique.push(row);
    const wait = budget.spend();
    if (wait) await wait;
  }
  return unique;
}

/** Merges two sorted runs. A row of the first one is before an equal one of the second. */
async function mergeRuns<R extends PlainRow<RowKey>>(
  first: readonly R[],
  second: readonly R[],
  budget: YieldBudget,
): Promise<R[]> {
  const merged: R[] = [];
  let at = 0;
  for (const row of first) {
    for (let next = second[at]; next && compareKeys(next.key, row.key) < 0; next = second[++at]) merged.push(next);
    merged.push(row);
    const wait = budget.spend();
    if (wait) await wait;
  }
  for (; at < second.length; at += 1) merged.push(second[at] as R);
  return merged;
}
