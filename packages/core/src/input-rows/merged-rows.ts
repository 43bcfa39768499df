import type { RuntimeId } from "@bolthole/contract";
import {
  EMPTY_RUNTIME_MANIFEST,
  NO_ROWS,
  type RuntimeManifest,
  type TableDigest,
  decodeRuntimeManifest,
  isSameDigest,
  isSameRowSet,
  updateDigest,
} from "../commit/manifests.js";
import { compareKeys, damaged, decodeRow, isVerified, makeRow, verifiedValue } from "../commit/row.js";
import {
  type Engine,
  type Row,
  type RowEntry,
  type RowRange,
  type RowSetKey,
  type RowSlice,
  StaleBaseError,
} from "../engine.js";
import { YieldBudget } from "../yield-budget.js";
import type { InputRow } from "./checked-rows.js";

/*
 * The merge of uploaded input rows with the row set that a runtime has: the stored rows that are not uploaded and all receipts
 * stay as they are. It works row by row, so that a row set of any size needs the memory of one slice.
 */

export async function readManifest(engine: Engine, runtimeId: RuntimeId): Promise<RuntimeManifest> {
  const key = { table: "runtimeManifest", runtimeId } as const;
  const row = await engine.view((view) => view.get(key));
  return row ? decodeRow(key, row, decodeRuntimeManifest) : EMPTY_RUNTIME_MANIFEST;
}

/** The limits of one slice: a millisecond or two of the event loop, except for a long row. */
const SLICE_ROWS = 256;
const SLICE_BYTES = 512 << 10;

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
  const stored = new StoredRows(engine, runtimeId, base, "input");
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
  for (const rest of [stored, new StoredRows(engine, runtimeId, base, "receipt")]) {
    for (let next = await rest.peek(); next; next = await rest.peek()) {
      if (slice.isFullFor(next.row.value)) yield slice.take();
      keep(next);
      rest.skip();
    }
  }
  if (!slice.isEmpty) yield slice.take();
}

/** Whether an uploaded row equals the stored one. A damaged row is replaced, also by the same value: its version may be damaged. */
const isSame = ({ key, row }: RowEntry<RowSetKey>, { value }: InputRow): boolean =>
  Buffer.compare(row.value, value) === 0 && isVerified(key, row);

/** Collects the rows of one slice: stored ones with their sequences, and new ones. */
class SliceBuilder {
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

  write({ key, value }: InputRow): void {
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

const PAGE_ROWS = 512;
const PAGE_BYTES = 1 << 20;

/** The stored rows of one table of a row set, read in pages with a short view for each, and compared with the manifest. */
class StoredRows {
  private page: readonly RowEntry<RowSetKey>[] = [];
  private at = 0;
  private hasAll = false;
  private digest: TableDigest = NO_ROWS;
  private readonly budget = new YieldBudget();

  constructor(
    private readonly engine: Engine,
    private readonly runtimeId: RuntimeId,
    private readonly base: RuntimeManifest,
    private readonly table: "input" | "receipt",
  ) {}

  /** Returns the next row, which is not verified, or undefined after the last one. */
  async peek(): Promise<RowEntry<RowSetKey> | undefined> {
    while (this.at === this.page.length) {
      if (this.hasAll) return undefined;
      await this.readPage();
    }
    return this.page[this.at];
  }

  /** Moves on to the row after the one that `peek` returned. */
  skip(): void {
    this.at += 1;
  }

  private async readPage(): Promise<void> {
    const { engine, runtimeId, table } = this;
    const after = this.page.at(-1)?.key;
    const key = { table: "runtimeManifest", runtimeId } as const;
    const page: readonly RowEntry<RowSetKey>[] = await engine.view(async (view) => {
      const row = await view.get(key);
      const manifest = row ? decodeRow(key, row, decodeRuntimeManifest) : EMPTY_RUNTIME_MANIFEST;
      if (!isSameRowSet(manifest, this.base)) throw new StaleBaseError();
      return view.scan({ table, runtimeId, after } as RowRange, PAGE_ROWS, PAGE_BYTES) as Promise<
        RowEntry<RowSetKey>[]
      >;
    });
    let bytes = 0;
    for (const entry of page) {
      bytes += entry.row.value.length;
      this.digest = updateDigest(this.digest, undefined, entry.row);
      const wait = this.budget.spend();
      if (wait) await wait;
    }
    this.page = page;
    this.at = 0;
    this.hasAll = page.length < PAGE_ROWS && bytes < PAGE_BYTES;
    if (this.hasAll && !isSameDigest(this.digest, this.base[table])) {
      throw damaged(
        key,
        `does not match the ${table === "input" ? "input states" : "boundary receipts"} that are there`,
      );
    }
  }
}
