import { randomUUID } from "node:crypto";
import BTree from "sorted-btree";
import type { ByteRange, RuntimeId } from "@bolthole/contract";
import { assembleYielding, crc32Yielding } from "./bytes.js";
import { compareKeys, ReadRows } from "./commit/row.js";
import {
  type DocumentParts,
  type Engine,
  type EngineStats,
  type EntryOf,
  type Row,
  type RowKey,
  type RowRange,
  type StagedDocument,
  StaleBaseError,
  type View,
  type WriteBatch,
} from "./engine.js";

/** A row in memory, with the document of a `snapshot` row. */
interface Kept {
  readonly row: Row;
  readonly document?: Uint8Array | undefined;
}
type Rows = BTree<RowKey, Kept>;

/** Keeps rows in the memory of the process. A view is a copy-on-write clone of the tree: readers and writers never wait. */
export class MemoryEngine implements Engine {
  readonly name = "memory";
  readonly durable = false;
  readonly storeId = randomUUID();
  readonly epoch = this.storeId.slice(0, 8);
  private readonly rows: Rows = new BTree<RowKey, Kept>(undefined, compareKeys);
  private sequence = 0;
  private bytes = 0;

  view<T>(read: (view: View) => Promise<T>): Promise<T> {
    return read(viewOf(this.rows.clone()));
  }

  /** Needs no group commit: nothing is flushed, so that each batch is a group of its own. */
  async commit<T>(batch: WriteBatch<T>): Promise<T> {
    // A commit resolves later than it is called, as with every other engine.
    await Promise.resolve();
    const sequence = this.sequence + 1;
    const rows = batch.reads.handles.map(({ key }) => ({ row: this.rows.get(key)?.row }));
    const { writes, result } = batch.decide(new ReadRows(rows), sequence);
    this.sequence = sequence;
    for (const { handle, row, document } of writes) this.put(handle.key, row, document);
    return result;
  }

  /** Copies the document: the caller may change its bytes after the commit. */
  async stage(runtimeId: RuntimeId, base: number | undefined, document: DocumentParts): Promise<WholeDocument> {
    const stored = this.rows.get({ table: "snapshot", runtimeId });
    if (stored?.row.sequence !== base) throw new StaleBaseError();
    const bytes = await assembleYielding(document, stored?.document);
    return { length: bytes.length, crc32: await crc32Yielding(bytes), bytes: bytes.length, content: bytes };
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  stats(): Promise<EngineStats> {
    return Promise.resolve({
      formatVersion: 0,
      storedBytes: this.bytes,
      usedBytes: this.bytes,
      commitSequence: this.sequence,
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private put(key: RowKey, row: Row | undefined, document: StagedDocument | undefined): void {
    const before = this.rows.get(key);
    this.bytes -= before ? sizeOf(before) : 0;
    if (!row) {
      this.rows.delete(key);
      return;
    }
    const kept = { row: copyOf(row), document: document && (document as WholeDocument).content };
    this.bytes += sizeOf(kept);
    this.rows.set(key, kept);
  }
}

interface WholeDocument extends StagedDocument {
  readonly content: Uint8Array;
}

/** Rows are copied on their way in and out, because their callers may change the bytes. */
const copyOf = (row: Row): Row => ({ ...row, value: Buffer.from(row.value) });

const sizeOf = ({ row, document }: Kept): number => row.value.length + (document?.length ?? 0);

function viewOf(rows: Rows): View {
  return {
    get: (key) => {
      const row = rows.get(key)?.row;
      return Promise.resolve(row && copyOf(row));
    },
    scan: (range, limit) => Promise.resolve(scan(rows, range, limit)),
    document: (runtimeId, range) => {
      const document = rows.get({ table: "snapshot", runtimeId })?.document ?? new Uint8Array();
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

function scan<R extends RowRange>(rows: Rows, range: R, limit: number): EntryOf<R>[] {
  const found: EntryOf<R>[] = [];
  const start = startOf(range);
  for (const [key, { row }] of rows.entries(start)) {
    if (key.table !== range.table || found.length === limit) break;
    if ("runtimeId" in range && "runtimeId" in key && key.runtimeId !== range.runtimeId) break;
    if (range.after && compareKeys(key, start) === 0) continue;
    found.push({ key, row } as EntryOf<R>);
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
