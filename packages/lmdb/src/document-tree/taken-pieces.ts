import { crc32 } from "node:zlib";
import type { ByteRange } from "@bolthole/contract";
import type { Piece } from "./balance.js";
import type { Draft } from "./draft.js";
import { type Entry, SETTLED_BYTES } from "./node.js";
import type { RepeatedStretches } from "./repeated-stretches.js";

/** A slice that is taken more than once is shared from this size on: below, its entries would cost as much as its bytes. */
const SHARED_BYTES = 1024;

/** What of a base's tree makes up the stretches that a document takes: whole subtrees where it can be. */
export class TakenPieces {
  readonly pieces: Piece[] = [];

  constructor(
    private readonly draft: Draft,
    private readonly repeated: RepeatedStretches,
  ) {}

  take(base: Entry, { offset, length }: ByteRange): void {
    // A root may have fewer children than other branches must: it never becomes one of them.
    this.cut(base.level > 0 ? this.draft.open(base) : [base], 0, offset, offset + length);
  }

  /** Adds what lies between two places of the base, of entries that begin at a third. */
  private cut(entries: readonly Entry[], begin: number, start: number, end: number): void {
    let at = begin;
    for (const entry of entries) {
      if (at >= end) return;
      const from = Math.max(start, at);
      const to = Math.min(end, at + entry.length);
      if (from < to) {
        const isShared = this.repeated.meet(from, to);
        if (to - from === entry.length) this.pieces.push(isShared ? { ...entry, isShared } : entry);
        else if (entry.level > 0) this.cut(this.draft.open(entry), at, from, to);
        else this.slice(entry, from - at, to - at, isShared);
      }
      at += entry.length;
    }
  }

  /** A small slice is written anew, so that it does not keep a large leaf, unless its bytes are needed at another place too. */
  private slice(leaf: Entry, start: number, end: number, isShared: boolean): void {
    const bytes = this.draft.nodes.bytes(leaf).subarray(start, end);
    if (bytes.length < (isShared ? SHARED_BYTES : SETTLED_BYTES)) {
      this.pieces.push(Buffer.from(bytes));
      return;
    }
    this.draft.offerHost(leaf);
    this.pieces.push({ ...leaf, offset: leaf.offset + start, length: bytes.length, crc32: crc32(bytes), isShared });
  }
}
