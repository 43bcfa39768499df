import type { Row, RowSetReplacement, RowWrite, StagedDocument, StagedRows } from "../engine.js";
import { CountedChecksums, DamagedRowsError, type SharedKey, type SharedRow } from "./damaged-rows.js";
import {
  type Counted,
  EMPTY_RUNTIME_MANIFEST,
  EMPTY_STORE_MANIFEST,
  type ManifestCorrection,
  NO_ROWS,
  type RuntimeManifest,
  type StoreManifest,
  type TableDigest,
  copyRuntimeManifest,
  copyStoreManifest,
  correctStoreManifest,
  decodeRuntimeManifest,
  decodeStoreManifest,
  encodeRuntimeManifest,
  encodeStoreManifest,
  isCountedTable,
  isEmptyRuntimeManifest,
  updateDigest,
} from "./manifests.js";
import { decodeRow, keyText, makeRow, type RowHandle, type RowReader } from "./row.js";
import { laterReading, type StoreTime } from "./store-time.js";

/** The manifests that a batch keeps up to date: the store's, and its runtime's if it is of one. */
export interface ManifestHandles {
  readonly store: RowHandle;
  readonly runtime?: RowHandle | undefined;
}

/** The horizon after a batch, if the batch changes it. */
export interface NewHorizon {
  readonly horizonMs?: number | undefined;
  /** Whether clock readings of the past do not count any more, because an operator said which time it is. */
  readonly forgetsClock?: boolean | undefined;
}

/** The writes of one batch, and the changes of the manifests that follow from them. */
export class WriteSet {
  /** The write of each row at the index of its handle. Rows that are not written have no element. */
  private readonly writes: RowWrite[] = [];
  private hasInputs = false;
  private replacement: RowSetReplacement | undefined;
  /** The sequence of the rows and of the runtime manifest. */
  private rowSequence: number;
  private runtimeBefore: RuntimeManifest | undefined;
  private storeBefore: StoreManifest | undefined;
  /** Set when the batch writes or deletes every row of its runtime. */
  private correction: ManifestCorrection | undefined;
  private uncounted: SharedRow[] | undefined;

  constructor(
    private readonly rows: RowReader,
    private readonly manifests: ManifestHandles,
    private readonly sequence: number,
    /** The checksums of damaged rows that the batch may replace or delete. */
    private readonly counted = new CountedChecksums(),
  ) {
    this.rowSequence = sequence;
  }

  /** Returns the verified and decoded value of a row as it was read. Throws DAMAGED_RECORD. */
  read<T>(handle: RowHandle, decode: (value: Uint8Array) => T): T | undefined {
    const row = this.rows.get(handle);
    return row && decodeRow(handle.key, row, decode);
  }

  /** The runtime's manifest as it was read; empty without a runtime, and when the whole runtime is replaced. */
  get runtimeManifest(): RuntimeManifest {
    if (this.correction) return EMPTY_RUNTIME_MANIFEST;
    const { runtime } = this.manifests;
    return (this.runtimeBefore ??= (runtime && this.read(runtime, decodeRuntimeManifest)) ?? EMPTY_RUNTIME_MANIFEST);
  }

  /** The store's manifest as it was read. */
  get storeManifest(): StoreManifest {
    return (this.storeBefore ??= this.read(this.manifests.store, decodeStoreManifest) ?? EMPTY_STORE_MANIFEST);
  }

  /** Whether input rows are written or replaced. */
  get writesInputs(): boolean {
    return this.hasInputs || this.replacement !== undefined;
  }

  put(handle: RowHandle, value: Uint8Array, document?: StagedDocument): void {
    this.write({ handle, row: makeRow(handle.key, this.rowSequence, value), document });
  }

  delete(handle: RowHandle): void {
    if (this.rows.get(handle)) this.write({ handle, row: undefined });
  }

  /** Counts the row set that replaces the one of the runtime. A row that is put is added to it, and must not be in it yet. */
  replaceRows(replacement: RowSetReplacement): void {
    this.replacement = replacement;
  }

  /**
   * Gives the rows that are put, and the runtime manifest, the sequence of a staged row set, so that everything that one change
   * writes has one version. Call it before the first `put`.
   */
  useSequenceOf({ sequence }: StagedRows): void {
    this.rowSequence = sequence;
  }

  /**
   * Declares that this batch writes or deletes every row of its runtime. The new runtime manifest then counts only the rows
   * that are written, the old one is not decoded, and the correction is applied to the store manifest.
   */
  replaceRuntime(correction: ManifestCorrection): void {
    this.correction = correction;
  }

  /**
   * Returns all writes, with those of the manifests. The store manifest keeps the present time if it is the latest
   * one. Throws `DamagedRowsError` when a row that is replaced or deleted is damaged and its counted checksum is not known.
   */
  close(time: StoreTime, horizon: NewHorizon = {}): RowWrite[] {
    const { runtime, store } = this.manifests;
    const writes: RowWrite[] = [];
    this.writes.forEach((write) => writes.push(write));
    if (runtime) this.addRuntimeManifest(runtime, writes);
    this.addStoreManifest(store, writes, time, horizon);
    if (this.uncounted) throw new DamagedRowsError(this.uncounted);
    return writes;
  }

  /** Returns the digest of the table of a row after the row was written or deleted. */
  private digestAfter(digest: TableDigest, { handle, row }: RowWrite): TableDigest {
    const { key } = handle;
    const before = this.rows.get(handle);
    switch (key.table) {
      case "input":
      case "receipt":
        return updateDigest(digest, this.correction ? undefined : this.countedRow(key, before), row);
      case "outcome":
        return updateDigest(digest, this.countedRow(key, before), row);
      case "runtimeManifest":
        // It was verified, or a correction has counted it as it is stored.
        return updateDigest(digest, before, row);
      case "snapshot":
      case "lifecycle":
      case "ops":
      case "oauth":
      case "storeManifest":
        // The table has one row, so the row before, which may be damaged, does not matter.
        return updateDigest(NO_ROWS, undefined, row);
    }
  }

  /** Returns a row with the checksum that its manifest has counted. */
  private countedRow(key: SharedKey, row: Row | undefined): Counted | undefined {
    if (!row) return undefined;
    const checksum = this.counted.of(key, row);
    if (checksum === undefined) (this.uncounted ??= []).push({ key, row });
    return checksum === row.checksum ? row : { checksum: checksum ?? 0 };
  }

  private write(write: RowWrite): void {
    this.hasInputs ||= write.handle.key.table === "input";
    this.writes[write.handle.index] = write;
  }

  private addRuntimeManifest(handle: RowHandle, writes: RowWrite[]): void {
    const manifest = copyRuntimeManifest(this.runtimeManifest);
    let isChanged = this.correction !== undefined;
    if (isChanged || this.hasInputs) manifest.inputsSequence = this.rowSequence;
    if (this.replacement) {
      const { input, receipt } = this.replacement.rows ?? { input: NO_ROWS, receipt: NO_ROWS };
      Object.assign(manifest, { input, receipt, inputsSequence: this.rowSequence });
      isChanged = true;
    }
    for (const write of writes) {
      const { table } = write.handle.key;
      if (!isCountedTable(table)) continue;
      const isInNewSet = this.replacement !== undefined && (table === "input" || table === "receipt");
      if (isInNewSet && (!this.replacement?.rows || !write.row || this.rows.get(write.handle))) {
        throw new TypeError(`a batch that replaces a row set can only add to it, found ${keyText(write.handle.key)}`);
      }
      manifest[table] = this.digestAfter(manifest[table], write);
      isChanged = true;
    }
    if (!isChanged) return;
    if (!isEmptyRuntimeManifest(manifest)) {
      writes.push({ handle, row: makeRow(handle.key, this.rowSequence, encodeRuntimeManifest(manifest)) });
    } else if (this.rows.get(handle)) {
      writes.push({ handle, row: undefined });
    }
  }

  private addStoreManifest(
    handle: RowHandle,
    writes: RowWrite[],
    time: StoreTime,
    { horizonMs, forgetsClock = false }: NewHorizon,
  ): void {
    const before = this.storeManifest;
    // Corrected first, because the updates below do not count below zero.
    const corrected = this.correction ? correctStoreManifest(before, this.correction) : before;
    const manifest = copyStoreManifest(corrected);
    let isChanged = corrected !== before || forgetsClock;
    if (horizonMs !== undefined && horizonMs !== manifest.horizonMs) {
      manifest.horizonMs = horizonMs;
      isChanged = true;
    }
    for (const write of writes) {
      const { table } = write.handle.key;
      if (table !== "outcome" && table !== "oauth" && table !== "runtimeManifest") continue;
      manifest[table] = this.digestAfter(manifest[table], write);
      isChanged = true;
    }
    if (!isChanged) return;
    manifest.clockMs = forgetsClock
      ? time.presentMs({ horizonMs: manifest.horizonMs, clockMs: 0 })
      : laterReading(manifest.clockMs, time.presentMs(before));
    writes.push({ handle, row: makeRow(handle.key, this.sequence, encodeStoreManifest(manifest)) });
  }
}
