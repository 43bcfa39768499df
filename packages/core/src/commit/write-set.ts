import type { Row, RowKey, StagedDocument, RowWrite } from "../engine.js";
import {
  EMPTY_RUNTIME_MANIFEST,
  type RuntimeManifest,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  encodeRuntimeManifest,
  isCountedTable,
  isEmptyRuntimeManifest,
  updateDigest,
} from "./runtime-manifest.js";
import { makeRow, verifiedValue } from "./row.js";
import {
  EMPTY_STORE_MANIFEST,
  type StoreManifest,
  decodeStoreManifest,
  encodeStoreManifest,
} from "./store-manifest.js";

/** The rows of one commit: what was read, what is written instead, and the books that follow from it. */
export class WriteSet {
  private readonly edits = new Map<number, RowWrite>();
  private headBefore: RuntimeManifest | undefined;

  constructor(
    private readonly keys: readonly RowKey[],
    private readonly rows: readonly (Row | undefined)[],
    private readonly sequence: number,
  ) {}

  /** The sound value of a row as it was read, in its own form. */
  read<T>(index: number, decode: (value: Uint8Array) => T): T | undefined {
    const row = this.rows[index];
    return row && decode(verifiedValue(this.key(index), row));
  }

  /** The runtime's head as it was read. */
  head(at: number): RuntimeManifest {
    return (this.headBefore ??= this.read(at, decodeRuntimeManifest) ?? EMPTY_RUNTIME_MANIFEST);
  }

  writesInputs(): boolean {
    for (const index of this.edits.keys()) if (this.key(index).table === "input") return true;
    return false;
  }

  sequenceOf(index: number): number | undefined {
    return this.rows[index]?.sequence;
  }

  /** Whether the stored value is this very one. */
  holds(index: number, value: Uint8Array): boolean {
    const row = this.rows[index];
    return row !== undefined && Buffer.compare(row.value, value) === 0;
  }

  put(index: number, value: Uint8Array, document?: StagedDocument): void {
    const key = this.key(index);
    this.edits.set(index, { at: index, row: makeRow(key, this.sequence, value), document });
  }

  delete(index: number): void {
    if (this.rows[index]) this.edits.set(index, { at: index, row: undefined });
  }

  /** Everything to write: the edits, and the books of the runtime and of the store brought up to date. */
  close(headAt: number | undefined, tallyAt: number): readonly RowWrite[] {
    if (headAt !== undefined) this.keepHead(headAt);
    this.keepTally(tallyAt);
    return [...this.edits.values()];
  }

  private keepHead(at: number): void {
    const head = copyRuntimeManifest(this.head(at));
    let isChanged = false;
    for (const { at: index, row } of this.edits.values()) {
      const { table } = this.key(index);
      if (!isCountedTable(table)) continue;
      head[table] = updateDigest(head[table], this.rows[index], row);
      if (table === "input") head.inputsSequence = this.sequence;
      isChanged = true;
    }
    if (!isChanged) return;
    if (isEmptyRuntimeManifest(head)) this.delete(at);
    else this.put(at, encodeRuntimeManifest(head));
  }

  private keepTally(at: number): void {
    const before = this.read(at, decodeStoreManifest);
    let tally: StoreManifest = before ?? EMPTY_STORE_MANIFEST;
    for (const { at: index, row } of this.edits.values()) {
      const { table } = this.key(index);
      if (table === "outcome" || table === "oauth" || table === "runtimeManifest") {
        tally = { ...tally, [table]: updateDigest(tally[table], this.rows[index], row) };
      }
    }
    if (tally !== (before ?? EMPTY_STORE_MANIFEST)) this.put(at, encodeStoreManifest(tally));
  }

  private key(index: number): RowKey {
    const key = this.keys[index];
    if (!key) throw new RangeError(`no row ${String(index)} was named`);
    return key;
  }
}
