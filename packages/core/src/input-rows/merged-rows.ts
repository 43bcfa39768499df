import type { RuntimeId } from "@bolthole/contract";
import { type RuntimeManifest, runtimeManifestOf } from "../commit/manifests.js";
import { type PlainRow, SLICE_BYTES, SLICE_ROWS } from "../commit/row-set.js";
import { compareKeys, damaged, isVerified, makeRow, verifiedValue } from "../commit/row.js";
import type { Engine, Row, RowEntry, RowKey, RowSetKey, RowSlice } from "../engine.js";
import type { InputRow } from "./checked-rows.js";
import { StoredRows } from "./stored-rows.js";

/*
 * The merge of uploaded input rows with the row set that a runtime has: the stored rows that are not uploaded and all receipts
 * stay as they are. It works row by row, so that a row set of any size needs the memory of one slice.
 */

export async function readManifest(engine: Engine, runtimeId: RuntimeId): Promise<RuntimeManifest> {
  const key = { table: "runtimeManifest", runtimeId } as const;
  return runtimeManifestOf(key, await engine.view((view) => view.get(key)));
}

export interface MergeOptions {
  /** Whether an uploaded row that equals the stored one keeps the version of that one. */
  readonly keepsEqual: boolean;
  /** Called for each uploaded row, in its order, with the stored row if that is kept because it has the same value. */
  readonly merged: (kept: Row | undefined) => void;
  /** Called with the size of each stored row that is not uploaded. An error that it throws ends the merge. */
  readonly kept: (bytes: number) => void;
}

/**
 * Yields the merged row set in slices for `Engine.stageRows`. `rows` are in ascending order of their ids. Throws
 * `StaleBaseError` when the stored row set is not the one that `base` counts any more, and DAMAGED_RECORD when a stored row
 * that stays is damaged, or when one is missing.
 */
export async function* mergedSlices(
  engine: Engine,
  runtimeId: RuntimeId,
  base: RuntimeManifest,
  rows: AsyncIterable<InputRow>,
  { keepsEqual, merged, kept: onKept }: MergeOptions,
): AsyncGenerator<RowSlice, void> {
  const slice = new SliceBuilder();
  const keep = (entry: RowEntry<RowSetKey>): void => {
    onKept(entry.row.value.length);
    slice.keep(entry);
  };
  const stored = new StoredRows(engine, runtimeId, base);
  for await (const row of rows) {
    let next = await stored.peek();
    for (; next && compareKeys(next.key, row.key) < 0; next = await stored.peek()) {
      if (slice.isFullFor(next.row.value)) yield slice.take();
      keep(next);
      stored.skip();
    }
    const same = next && compareKeys(next.key, row.key) === 0 ? next : undefined;
    if (same) stored.skip();
    const kept = keepsEqual && same && isSame(same, row) ? same : undefined;
    if (slice.isFullFor(row.value)) yield slice.take();
    if (kept) slice.keep(kept);
    else slice.write(row);
    merged(kept?.row);
  }
  for (let next = await stored.peek(); next; next = await stored.peek()) {
    if (slice.isFullFor(next.row.value)) yield slice.take();
    keep(next);
    stored.skip();
  }
  const difference = stored.difference();
  if (difference !== undefined) throw damaged({ table: "runtimeManifest", runtimeId }, difference);
  if (!slice.isEmpty) yield slice.take();
}

/** Whether a new row equals the stored one. A damaged row is replaced, also by the same value: its version may be damaged. */
export const isSame = ({ key, row }: RowEntry, { value }: PlainRow<RowKey>): boolean =>
  Buffer.compare(row.value, value) === 0 && isVerified(key, row);

/** Collects the rows of one slice: stored ones with their sequences, and new ones. */
export class SliceBuilder {
  private rows: ((sequence: number) => RowEntry<RowSetKey>)[] = [];
  private bytes = 0;

  get isEmpty(): boolean {
    return this.rows.length === 0;
  }

  isFullFor(value: Uint8Array): boolean {
    return !this.isEmpty && (this.rows.length === SLICE_ROWS || this.bytes + value.length > SLICE_BYTES);
  }

  /** Adds a stored row. Throws DAMAGED_RECORD: a copy must not make a damaged row look valid. */
  keep(entry: RowEntry<RowSetKey>): void {
    verifiedValue(entry.key, entry.row);
    this.add(entry.row.value, () => entry);
  }

  write({ key, value }: PlainRow<RowSetKey>): void {
    this.add(value, (sequence) => ({ key, row: makeRow(key, sequence, value) }));
  }

  take(): RowSlice {
    const { rows } = this;
    this.rows = [];
    this.bytes = 0;
    return (sequence) => rows.map((row) => row(sequence));
  }

  private add(value: Uint8Array, row: (sequence: number) => RowEntry<RowSetKey>): void {
    this.rows.push(row);
    this.bytes += value.length;
  }
}
