import { crc32 } from "node:zlib";
import type { ByteRange } from "@bolthole/contract";
import type { Piece } from "./balance.js";
import type { Draft } from "./draft.js";
import { type NodeEntry, SETTLED_BYTES } from "./node.js";
import type { RepeatedStretches } from "./repeated-stretches.js";

/** A slice that is taken more than once is shared from this size on: below, its entries would cost as much as its bytes. */
const SHARED_BYTES = 1024;

/** What of a base's tree makes up the stretches that a document takes: whole subtrees where it can be. */
export class TakenPieces {
  readonly pieces: Piece[] = [];
  private readonly settled = new Map<string, readonly NodeEntry[]>();

  constructor(
    private readonly draft: Draft,
    private readonly repeated: RepeatedStretches,
  ) {}

  take(base: NodeEntry, { offset, length }: ByteRange): void {
    // A root may have fewer children than other branches must: it never becomes one of them.
    this.cut(base.level > 0 ? this.draft.open(base) : [base], 0, offset, offset + length);
  }

  /** Adds what lies between two places of the base, of entries that begin at a third. */
  private cut(entries: readonly NodeEntry[], begin: number, start: number, end: number): void {
    let at = begin;
    for (const entry of entries) {
      if (at >= end) return;
      const from = Math.max(start, at);
      const to = Math.min(end, at + entry.length);
      if (from < to) {
        if (to - from === entry.length) {
          const isShared = this.repeated.meet(from, to);
          this.pieces.push(isShared ? { ...entry, isShared } : entry);
        } else if (entry.level > 0) this.cut(this.draft.open(entry), at, from, to);
        else this.slice(entry, at, from, to);
      }
      at += entry.length;
    }
  }

  /** Adds parts of a leaf that begins at a place. */
  private slice(leaf: NodeEntry, at: number, from: number, to: number): void {
    const bytes = this.draft.nodes.bytes(leaf);
    for (const { start, end, isShared } of this.repeated.cut(from, to)) {
      const part = bytes.subarray(start - at, end - at);
      const offset = leaf.offset + start - at;
      if (part.length < (isShared ? SHARED_BYTES : SETTLED_BYTES)) {
        // A small one is written anew, so that it does not keep a large leaf, unless it is needed at another place too.
        this.pieces.push(Buffer.from(part));
      } else if (!isShared || part.length >= SETTLED_BYTES || this.repeated.isTakenWhole(at, at + leaf.length)) {
        this.pieces.push({ ...leaf, offset, length: part.length, crc32: crc32(part), isShared });
      } else {
        this.settle(`${String(leaf.id)} ${String(offset)} ${String(part.length)}`, part);
      }
    }
  }

  /** Adds bytes that are shared from now on, while nothing else of their leaf is: behind what is shared before them, once. */
  private settle(name: string, bytes: Uint8Array): void {
    const before = this.pieces.at(-1);
    const isHost = before && !(before instanceof Uint8Array) && before.level === 0 && before.isShared;
    const entries = this.settled.get(name) ?? this.draft.append(isHost ? before : undefined, bytes);
    this.settled.set(name, entries);
    for (const entry of entries) this.pieces.push({ ...entry, isShared: true });
  }
}
