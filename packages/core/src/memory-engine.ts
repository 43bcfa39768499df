import { randomUUID } from "node:crypto";
import BTree from "sorted-btree";
import type { ByteRange, RuntimeId } from "@bolthole/contract";
import {
  type DocumentParts,
  type Engine,
  type EngineStats,
  type RowEntry,
  type KeyOf,
  StaleBaseError,
  type RowRange,
  type Row,
  type RowKey,
  type StagedDocument,
  type WriteBatch,
  type View,
} from "./engine.js";
import { ReadRows } from "./commit/read-set.js";
import { compareKeys } from "./commit/row.js";
import { assembleYielding, crc32Yielding } from "./bytes.js";

/** A row as it lies in memory, with the document of a `snapshot` row. */
interface Kept {
  readonly row: Row;
  readonly document?: Uint8Array | undefined;
}
type Rows = BTree<RowKey, Kept>;

/** Keeps rows as long as the process lives. A view is a copy-on-write clone of the tree, so nobody waits for anybody. */
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

  commit<T>(batch: WriteBatch<T>): Promise<T> {
    // Through a promise, so that a refusal is a rejection here as with every other engine.
    return Promise.resolve().then(() => {
      const sequence = this.sequence + 1;
      const rows = batch.reads.handles.map(({ key }) => ({ row: this.rows.get(key)?.row }));
      const { writes, result } = batch.decide(new ReadRows(rows), sequence);
      this.sequence = sequence;
      for (const { handle, row, document } of writes) {
        const { key } = handle;
        const before = this.rows.get(key);
        this.bytes -= before ? sizeOf(before) : 0;
        if (row) {
          const kept = { row: copyOf(row), document: document && (document as WholeDocument).content };
          this.bytes += sizeOf(kept);
          this.rows.set(key, kept);
        } else {
          this.rows.delete(key);
        }
      }
      return result;
    });
  }

  /** Always a copy: what is kept belongs to nobody else. */
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
}

interface WholeDocument extends StagedDocument {
  readonly content: Uint8Array;
}

/** What goes in and what comes out belongs to the caller, who may write over it. */
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
      return Promise.resolve(pieces(document, range));
    },
  };
}

const MAX_PIECE = 1 << 20;

// eslint-disable-next-line @typescript-eslint/require-await -- the bytes are there already; the port allows waiting for them
async function* pieces(document: Uint8Array, range?: ByteRange): AsyncGenerator<Uint8Array> {
  const end = range ? range.offset + range.length : document.length;
  for (let at = range?.offset ?? 0; at < end; at += MAX_PIECE) {
    yield Buffer.from(document.subarray(at, Math.min(end, at + MAX_PIECE)));
  }
}

function scan<R extends RowRange>(rows: Rows, range: R, limit: number): RowEntry<KeyOf<R["table"]>>[] {
  const found: RowEntry<KeyOf<R["table"]>>[] = [];
  const start = startOf(range);
  for (const [key, { row }] of rows.entries(start)) {
    if (key.table !== range.table || found.length === limit) break;
    if ("runtimeId" in range && "runtimeId" in key && key.runtimeId !== range.runtimeId) break;
    if (range.after !== undefined && compareKeys(key, start) === 0) continue;
    found.push({ key: key as KeyOf<R["table"]>, row });
  }
  return found;
}

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
