import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import BTree from "sorted-btree";
import type { ByteRange, RuntimeId } from "@bolthole/contract";
import { assembleYielding, crc32Yielding } from "./bytes.js";
import { RowSetDigest } from "./commit/row-set.js";
import { compareKeys, ReadRows } from "./commit/row.js";
import { EngineLifecycle } from "./engine-lifecycle.js";
import {
  type DocumentRowKey,
  type DocumentParts,
  type Engine,
  type EngineStats,
  type EntryOf,
  type Row,
  type RowKey,
  type RowRange,
  type RowSlice,
  type StagedDocument,
  type StagedRows,
  StaleBaseError,
  type View,
  type WriteBatch,
} from "./engine.js";

/** A row in memory, with its document. */
interface Kept {
  readonly row: Row;
  readonly document?: Uint8Array | undefined;
}
type Rows = BTree<RowKey, Kept>;

/** The input rows and receipts of one runtime. It is never changed: a commit stores another one. */
interface RowSet {
  readonly rows: Rows;
  readonly bytes: number;
}
type RowSets = BTree<RuntimeId, RowSet>;

/** All rows of one state. */
interface State {
  /** The rows that belong to no row set. */
  readonly rows: Rows;
  readonly sets: RowSets;
}

/** Keeps rows in the memory of the process. A view is a copy-on-write clone of the trees: readers and writers never wait. */
export class MemoryEngine implements Engine {
  readonly name = "memory";
  readonly durable = false;
  readonly storeId = randomUUID();
  readonly epoch = this.storeId.slice(0, 8);
  /** An open view keeps the rows that are replaced meanwhile. */
  readonly viewHoldMs = 10_000;
  private readonly state: State = { rows: emptyRows(), sets: new BTree<RuntimeId, RowSet>() };
  private sequence = 0;
  private bytes = 0;
  private readonly lifecycle = new EngineLifecycle();

  view<T>(read: (view: View) => Promise<T>): Promise<T> {
    return this.lifecycle.run("ReadFailed", () =>
      read(this.lifecycle.guard(viewOf({ rows: this.state.rows.clone(), sets: this.state.sets.clone() }))),
    );
  }

  /** Needs no group commit: nothing is flushed, so that each batch is a group of its own. */
  commit<T>(batch: WriteBatch<T>): Promise<T> {
    return this.lifecycle.run("WriteFailed", () => this.apply(batch));
  }

  private async apply<T>(batch: WriteBatch<T>): Promise<T> {
    // A commit resolves later than it is called, as with every other engine.
    await Promise.resolve();
    const sequence = this.sequence + 1;
    const rows = batch.reads.handles.map(({ key }) => ({ row: find(this.state, key)?.row }));
    const { writes, replaceRows, result } = batch.decide(new ReadRows(rows), sequence);
    // A batch that writes nothing takes no sequence, as in a group commit.
    if (writes.length > 0 || replaceRows) this.sequence = sequence;
    if (replaceRows) this.putSet(replaceRows.runtimeId, (replaceRows.rows as StagedSet | undefined)?.set);
    for (const { handle, row, document } of writes) this.put(handle.key, row, document);
    return result;
  }

  /** Copies the document: the caller may change its bytes after the commit. */
  stage(key: DocumentRowKey, base: number | undefined, document: DocumentParts): Promise<WholeDocument> {
    return this.lifecycle.run("WriteFailed", async () => {
      const stored = find(this.state, key);
      const isPatch = document.some((part) => !(part instanceof Uint8Array));
      if (isPatch && stored?.row.sequence !== base) throw new StaleBaseError();
      const bytes = await assembleYielding(document, stored?.document);
      return { length: bytes.length, crc32: await crc32Yielding(bytes), bytes: bytes.length, content: bytes };
    });
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  stageRows(_runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedSet> {
    return this.lifecycle.run("WriteFailed", () => this.keepRows(slices));
  }

  private async keepRows(slices: AsyncIterable<RowSlice>): Promise<StagedSet> {
    const rows = emptyRows();
    const digest = new RowSetDigest();
    let bytes = 0;
    let sequence = 0;
    for await (const slice of slices) {
      this.lifecycle.refuseAfterClosing("WriteFailed");
      sequence ||= this.sequence += 1;
      const entries = slice(sequence);
      digest.add(entries);
      for (const { key, row } of entries) {
        const kept = { row: copyOf(row) };
        bytes += sizeOf(kept);
        rows.set(key, kept);
      }
      await setImmediate();
    }
    return { sequence, input: digest.input, receipt: digest.receipt, set: { rows, bytes } };
  }

  discardRows(): Promise<void> {
    return Promise.resolve();
  }

  stats(): Promise<EngineStats> {
    return this.lifecycle.run("ReadFailed", () =>
      Promise.resolve({
        formatVersion: 0,
        storedBytes: this.bytes,
        usedBytes: this.bytes,
        commitSequence: this.sequence,
      }),
    );
  }

  close(): Promise<void> {
    return this.lifecycle.close({ drain: () => Promise.resolve(), release: () => Promise.resolve() });
  }

  private put(key: RowKey, row: Row | undefined, document: StagedDocument | undefined): void {
    const before = find(this.state, key);
    const kept = row && { row: copyOf(row), document: document && (document as WholeDocument).content };
    const growth = (kept ? sizeOf(kept) : 0) - (before ? sizeOf(before) : 0);
    if (key.table === "input" || key.table === "receipt") {
      const set = this.state.sets.get(key.runtimeId);
      const rows = set ? set.rows.clone() : emptyRows();
      putOrDelete(rows, key, kept);
      this.putSet(key.runtimeId, { rows, bytes: (set?.bytes ?? 0) + growth });
    } else {
      this.bytes += growth;
      putOrDelete(this.state.rows, key, kept);
    }
  }

  private putSet(runtimeId: RuntimeId, set: RowSet | undefined): void {
    const { sets } = this.state;
    this.bytes += (set?.bytes ?? 0) - (sets.get(runtimeId)?.bytes ?? 0);
    if (set && set.rows.size > 0) sets.set(runtimeId, set);
    else sets.delete(runtimeId);
  }
}

interface StagedSet extends StagedRows {
  readonly set: RowSet;
}

const emptyRows = (): Rows => new BTree<RowKey, Kept>(undefined, compareKeys);

function putOrDelete(rows: Rows, key: RowKey, kept: Kept | undefined): void {
  if (kept) rows.set(key, kept);
  else rows.delete(key);
}

const find = ({ rows, sets }: State, key: RowKey): Kept | undefined =>
  key.table === "input" || key.table === "receipt" ? sets.get(key.runtimeId)?.rows.get(key) : rows.get(key);

interface WholeDocument extends StagedDocument {
  readonly content: Uint8Array;
}

/** Rows are copied on their way in and out, because their callers may change the bytes. */
const copyOf = (row: Row): Row => ({ ...row, value: Buffer.from(row.value) });

const sizeOf = ({ row, document }: Kept): number => row.value.length + (document?.length ?? 0);

function viewOf(state: State): View {
  return {
    get: (key) => {
      const row = find(state, key)?.row;
      return Promise.resolve(row && copyOf(row));
    },
    scan: (range, limit, bytes) => Promise.resolve(scan(state, range, limit, bytes)),
    document: (key, range) => {
      const document = state.rows.get(key)?.document ?? new Uint8Array();
      return Promise.resolve(piecesOf(document, range));
    },
  };
}

const PIECE_BYTES = 1 << 20;

// eslint-disable-next-line @typescript-eslint/require-await -- the bytes are in memory; other engines have to wait for them
async function* piecesOf(document: Uint8Array, range?: ByteRange): AsyncGenerator<Uint8Array> {
  const end = range ? range.offset + range.length : document.length;
  for (let at = range?.offset ?? 0; at < end; at += PIECE_BYTES) {
    yield Buffer.from(document.subarray(at, Math.min(end, at + PIECE_BYTES)));
  }
}

function scan<R extends RowRange>(state: State, range: R, limit: number, bytes = Infinity): EntryOf<R>[] {
  const found: EntryOf<R>[] = [];
  const start = startOf(range);
  const rows = "runtimeId" in range ? state.sets.get(range.runtimeId)?.rows : state.rows;
  if (!rows) return found;
  let left = bytes;
  for (const [key, { row }] of rows.entries(start)) {
    if (key.table !== range.table || found.length === limit || left <= 0) break;
    if (range.after && compareKeys(key, start) === 0) continue;
    found.push({ key, row } as EntryOf<R>);
    left -= row.value.length;
  }
  return found;
}

/** Returns the row after which a range begins, or a key that is before all its rows. */
function startOf(range: RowRange): RowKey {
  switch (range.table) {
    case "input":
      return range.after ?? { table: "input", runtimeId: range.runtimeId, inputId: "" };
    case "receipt":
      return range.after ?? { table: "receipt", runtimeId: range.runtimeId, runId: "", sequence: 0n };
    case "runtimeManifest":
      return range.after ?? { table: "runtimeManifest", runtimeId: "" };
    case "outcome":
      return range.after ?? { table: "outcome", requestId: "" };
  }
}
