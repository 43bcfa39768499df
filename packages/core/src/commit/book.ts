import type { Row, RowKey, StagedDocument, Write } from "../engine.js";
import { EMPTY_HEAD, type Head, copyHead, decodeHead, encodeHead, isCounted, isEmptyHead, retally } from "./head.js";
import { makeRow, soundValue } from "./row.js";
import { EMPTY_TALLY, type StoreTally, decodeTally, encodeTally } from "./tally.js";

/** The rows of one commit: what was read, what is written instead, and the books that follow from it. */
export class Book {
  private readonly edits = new Map<number, Write>();
  private headBefore: Head | undefined;

  constructor(
    private readonly keys: readonly RowKey[],
    private readonly rows: readonly (Row | undefined)[],
    private readonly sequence: number,
  ) {}

  /** The sound value of a row as it was read, in its own form. */
  read<T>(index: number, decode: (value: Uint8Array) => T): T | undefined {
    const row = this.rows[index];
    return row && decode(soundValue(this.key(index), row));
  }

  /** The runtime's head as it was read. */
  head(at: number): Head {
    return (this.headBefore ??= this.read(at, decodeHead) ?? EMPTY_HEAD);
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
  close(headAt: number | undefined, tallyAt: number): readonly Write[] {
    if (headAt !== undefined) this.keepHead(headAt);
    this.keepTally(tallyAt);
    return [...this.edits.values()];
  }

  private keepHead(at: number): void {
    const head = copyHead(this.head(at));
    let isChanged = false;
    for (const { at: index, row } of this.edits.values()) {
      const { table } = this.key(index);
      if (!isCounted(table)) continue;
      head[table] = retally(head[table], this.rows[index], row);
      if (table === "input") head.inputsSequence = this.sequence;
      isChanged = true;
    }
    if (!isChanged) return;
    if (isEmptyHead(head)) this.delete(at);
    else this.put(at, encodeHead(head));
  }

  private keepTally(at: number): void {
    const before = this.read(at, decodeTally);
    let tally: StoreTally = before ?? EMPTY_TALLY;
    for (const { at: index, row } of this.edits.values()) {
      const { table } = this.key(index);
      if (table === "outcome" || table === "oauth" || table === "head") {
        tally = { ...tally, [table]: retally(tally[table], this.rows[index], row) };
      }
    }
    if (tally !== (before ?? EMPTY_TALLY)) this.put(at, encodeTally(tally));
  }

  private key(index: number): RowKey {
    const key = this.keys[index];
    if (!key) throw new RangeError(`no row ${String(index)} was named`);
    return key;
  }
}
