import type { Row, RowKey, RowWrite, StagedDocument } from "../engine.js";
import {
  EMPTY_RUNTIME_MANIFEST,
  EMPTY_STORE_MANIFEST,
  type RuntimeManifest,
  type StoreManifest,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  decodeStoreManifest,
  encodeRuntimeManifest,
  encodeStoreManifest,
  isCountedTable,
  isEmptyRuntimeManifest,
  updateDigest,
} from "./manifests.js";
import { compareKeys, decodeRow, keyText, makeRow } from "./row.js";

/*
 * The rows of a write batch: a read set names them, and a write set collects the writes.
 */

/** Names one row of a `ReadSet`. */
export interface RowHandle<K extends RowKey = RowKey> {
  readonly key: K;
  /** The position of the row in the set. For the engines; rules name rows by their handles alone. */
  readonly index: number;
}

/** The rows of a `ReadSet` as they were read. */
export interface RowReader {
  get(handle: RowHandle): Row | undefined;
}

/** Comparing keys one by one is faster than a map of their texts in sets of up to this many rows. */
const SEARCHED_ROWS = 16;

/**
 * The rows that a write batch reads, and that it may write. A row that is added again gets the handle that it has already, so
 * that no row can be written under two names.
 */
export class ReadSet {
  private readonly list: RowHandle[] = [];
  private byText: Map<string, RowHandle> | undefined;

  get handles(): readonly RowHandle[] {
    return this.list;
  }

  add<K extends RowKey>(key: K): RowHandle<K> {
    const known = this.find(key);
    if (known) return known as RowHandle<K>;
    const handle = { key, index: this.list.length };
    this.list.push(handle);
    this.byText?.set(keyText(key), handle);
    return handle;
  }

  private find(key: RowKey): RowHandle | undefined {
    if (this.list.length <= SEARCHED_ROWS) {
      return this.list.find((one) => one.key.table === key.table && compareKeys(one.key, key) === 0);
    }
    this.byText ??= new Map(this.list.map((one) => [keyText(one.key), one]));
    return this.byText.get(keyText(key));
  }
}

/** Rows in the order of their read set. */
export class ReadRows implements RowReader {
  constructor(private readonly rows: readonly { readonly row: Row | undefined }[]) {}

  get({ key, index }: RowHandle): Row | undefined {
    const found = this.rows[index];
    if (!found) throw new RangeError(`the batch did not read the row ${keyText(key)}`);
    return found.row;
  }
}

/** The manifests that a batch keeps up to date: the store's, and its runtime's if it is of one. */
export interface ManifestHandles {
  readonly store: RowHandle;
  readonly runtime?: RowHandle | undefined;
}

/** The writes of one batch, and the changes of the manifests that follow from them. */
export class WriteSet {
  /** The write of each row at the index of its handle. Rows that are not written have no element. */
  private readonly writes: RowWrite[] = [];
  private hasInputs = false;
  private runtimeBefore: RuntimeManifest | undefined;
  private storeBefore: StoreManifest | undefined;

  constructor(
    private readonly rows: RowReader,
    private readonly manifests: ManifestHandles,
    private readonly sequence: number,
  ) {}

  /** Returns the verified and decoded value of a row as it was read. Throws DAMAGED_RECORD. */
  read<T>(handle: RowHandle, decode: (value: Uint8Array) => T): T | undefined {
    const row = this.rows.get(handle);
    return row && decodeRow(handle.key, row, decode);
  }

  /** The runtime's manifest as it was read; empty without a runtime. */
  get runtimeManifest(): RuntimeManifest {
    const { runtime } = this.manifests;
    return (this.runtimeBefore ??= (runtime && this.read(runtime, decodeRuntimeManifest)) ?? EMPTY_RUNTIME_MANIFEST);
  }

  /** The store's manifest as it was read. */
  get storeManifest(): StoreManifest {
    return (this.storeBefore ??= this.read(this.manifests.store, decodeStoreManifest) ?? EMPTY_STORE_MANIFEST);
  }

  /** Whether an input row is written. */
  get writesInputs(): boolean {
    return this.hasInputs;
  }

  put(handle: RowHandle, value: Uint8Array, document?: StagedDocument): void {
    this.write({ handle, row: makeRow(handle.key, this.sequence, value), document });
  }

  delete(handle: RowHandle): void {
    if (this.rows.get(handle)) this.write({ handle, row: undefined });
  }

  /** Returns all writes, with those of the manifests. `horizonMs` may move the store's horizon forward. */
  close(horizonMs = 0): RowWrite[] {
    const { runtime, store } = this.manifests;
    const writes: RowWrite[] = [];
    this.writes.forEach((write) => writes.push(write));
    if (runtime) this.addRuntimeManifest(runtime, writes);
    this.addStoreManifest(store, writes, horizonMs);
    return writes;
  }

  private write(write: RowWrite): void {
    this.hasInputs ||= write.handle.key.table === "input";
    this.writes[write.handle.index] = write;
  }

  private addRuntimeManifest(handle: RowHandle, writes: RowWrite[]): void {
    const manifest = copyRuntimeManifest(this.runtimeManifest);
    let isChanged = false;
    for (const write of writes) {
      const { table } = write.handle.key;
      if (!isCountedTable(table)) continue;
      manifest[table] = updateDigest(manifest[table], this.rows.get(write.handle), write.row);
      isChanged = true;
    }
    if (!isChanged) return;
    if (this.hasInputs) manifest.inputsSequence = this.sequence;
    if (!isEmptyRuntimeManifest(manifest)) {
      writes.push({ handle, row: makeRow(handle.key, this.sequence, encodeRuntimeManifest(manifest)) });
    } else if (this.rows.get(handle)) {
      writes.push({ handle, row: undefined });
    }
  }

  private addStoreManifest(handle: RowHandle, writes: RowWrite[], horizonMs: number): void {
    const before = this.storeManifest;
    let manifest = horizonMs > before.horizonMs ? { ...before, horizonMs } : before;
    for (const write of writes) {
      const { table } = write.handle.key;
      if (table === "outcome" || table === "oauth" || table === "runtimeManifest") {
        manifest = { ...manifest, [table]: updateDigest(manifest[table], this.rows.get(write.handle), write.row) };
      }
    }
    if (manifest === before) return;
    writes.push({ handle, row: makeRow(handle.key, this.sequence, encodeStoreManifest(manifest)) });
  }
}
