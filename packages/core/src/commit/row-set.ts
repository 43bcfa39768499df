import type { RowEntry, RowSetKey, RowSlice, StagedRows } from "../engine.js";
import { NO_ROWS, type RuntimeManifest, updateDigest } from "./manifests.js";
import { makeRow } from "./row.js";

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

/** A row without sequence and checksum. */
export interface PlainRow<K> {
  readonly key: K;
  readonly value: Uint8Array;
}

/** The limits of one slice: a millisecond or two of the event loop, except for a long row. */
export const SLICE_ROWS = 256;
export const SLICE_BYTES = 512 << 10;

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
