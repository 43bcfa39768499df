import { crc32 } from "node:zlib";
import type { ByteRange } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";
import { MERGE_BELOW_BYTES, type NodeEntry } from "../node.js";
import type { TreePart } from "./balance.js";
import type { TreeBuilder } from "./tree-builder.js";

/** Shared parts of a leaf below this size are copied: their entries would need as much space as their bytes. */
const MIN_SHARED_BYTES = 1024;

/** A range between two positions of the base document. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** The ranges of the base that a document contains more than once. */
export class SharedRanges {
  /** The shared ranges in ascending order. They do not overlap. */
  private readonly ranges: { readonly start: number; end: number }[] = [];
  /** The ranges of the document in order of their start, each with the furthest end up to and including it. */
  private readonly used: { readonly start: number; readonly furthestEnd: number }[] = [];

  constructor(document: DocumentParts) {
    const ranges = document.filter((part): part is ByteRange => !(part instanceof Uint8Array));
    ranges.sort((a, b) => a.offset - b.offset);
    let furthestEnd = 0;
    for (const { offset, length } of ranges) {
      const end = Math.min(furthestEnd, offset + length);
      const last = this.ranges.at(-1);
      if (last && offset <= last.end) last.end = Math.max(last.end, end);
      else if (offset < end) this.ranges.push({ start: offset, end });
      furthestEnd = Math.max(furthestEnd, offset + length);
      this.used.push({ start: offset, furthestEnd });
    }
  }

  /** Whether a shared range overlaps the given one. */
  overlaps({ start, end }: Span): boolean {
    return (this.ranges[this.firstEndingAfter(start)]?.start ?? Infinity) < end;
  }

  /** Cuts the given range where shared ranges begin and end. */
  *cut({ start, end }: Span): Generator<Span & { readonly isShared: boolean }> {
    let at = start;
    for (let index = this.firstEndingAfter(start); at < end; index += 1) {
      const next = this.ranges[index] ?? { start: end, end };
      const [from, to] = [Math.min(next.start, end), Math.min(next.end, end)];
      if (at < from) yield { start: at, end: from, isShared: false };
      if (from < to) yield { start: Math.max(at, from), end: to, isShared: true };
      at = to;
    }
  }

  /** Whether one single range of the document contains the whole given range. */
  isUsedWhole({ start, end }: Span): boolean {
    let [low, high] = [0, this.used.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.used[middle]?.start ?? 0) <= start) low = middle + 1;
      else high = middle;
    }
    return (this.used[low - 1]?.furthestEnd ?? 0) >= end;
  }

  private firstEndingAfter(position: number): number {
    let [low, high] = [0, this.ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ranges[middle]?.end ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Collects the parts of a document. Ranges of the base become whole subtrees wherever possible. */
export class BaseSlices {
  readonly parts: TreePart[] = [];
  /** Entries of shared leaf parts that were copied to a new place, so that each is copied once. */
  private readonly copied = new Map<string, readonly NodeEntry[]>();

  constructor(
    private readonly builder: TreeBuilder,
    private readonly shared: SharedRanges,
  ) {}

  /** Adds a range of the base document whose root is `base`. */
  add(base: NodeEntry, { offset, length }: ByteRange): void {
    // The root is always opened: it may have fewer than MIN_CHILDREN children, so it must not become an inner branch.
    const entries = base.level > 0 ? this.builder.open(base) : [base];
    this.addRange(entries, 0, { start: offset, end: offset + length });
  }

  /** Adds the range `wanted` of adjacent entries, the first of which begins at position `begin` of the base. */
  private addRange(entries: readonly NodeEntry[], begin: number, wanted: Span): void {
    let at = begin;
    for (const entry of entries) {
      if (at >= wanted.end) return;
      const start = Math.max(wanted.start, at);
      const end = Math.min(wanted.end, at + entry.length);
      if (start < end) {
        if (end - start === entry.length) {
          const isShared = this.shared.overlaps({ start, end });
          this.parts.push(isShared ? { ...entry, isShared } : entry);
        } else if (entry.level > 0) this.addRange(this.builder.open(entry), at, { start, end });
        else this.addLeafParts(entry, at, { start, end });
      }
      at += entry.length;
    }
  }

  /** Adds a range of the leaf that begins at position `at` of the base. */
  private addLeafParts(leaf: NodeEntry, at: number, wanted: Span): void {
    const bytes = this.builder.nodes.bytes(leaf);
    for (const { start, end, isShared } of this.shared.cut(wanted)) {
      const part = bytes.subarray(start - at, end - at);
      const offset = leaf.offset + start - at;
      if (part.length < (isShared ? MIN_SHARED_BYTES : MERGE_BELOW_BYTES)) {
        // A small part is copied, so that it does not keep a large leaf alive. A shared one has a lower limit.
        this.parts.push(Buffer.from(part));
      } else if (
        !isShared ||
        part.length >= MERGE_BELOW_BYTES ||
        this.shared.isUsedWhole({ start: at, end: at + leaf.length })
      ) {
        this.parts.push({ ...leaf, offset, length: part.length, crc32: crc32(part), isShared });
      } else {
        this.addCopy(`${String(leaf.id)} ${String(offset)} ${String(part.length)}`, part);
      }
    }
  }

  /**
   * Adds a shared part of a leaf when the document needs no other part of that leaf. The part is copied once, after the
   * bytes of the previous shared leaf if that has space.
   */
  private addCopy(name: string, bytes: Uint8Array): void {
    const before = this.parts.at(-1);
    const isTarget = before && !(before instanceof Uint8Array) && before.level === 0 && before.isShared;
    const entries = this.copied.get(name) ?? this.builder.append(isTarget ? before : undefined, bytes);
    this.copied.set(name, entries);
    for (const entry of entries) this.parts.push({ ...entry, isShared: true });
  }
}
