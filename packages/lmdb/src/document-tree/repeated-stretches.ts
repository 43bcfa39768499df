import type { ByteRange } from "@bolthole/contract";
import type { Document } from "@bolthole/core";

/** What of its base a document takes more than once. */
export class RepeatedStretches {
  /** Ascending; where one ends before the next begins. */
  private readonly stretches: { readonly start: number; end: number }[] = [];

  constructor(document: Document) {
    const ranges = document.filter((part): part is ByteRange => !(part instanceof Uint8Array));
    ranges.sort((a, b) => a.offset - b.offset);
    let reached = 0;
    for (const { offset, length } of ranges) {
      const end = Math.min(reached, offset + length);
      const last = this.stretches.at(-1);
      if (last && offset <= last.end) last.end = Math.max(last.end, end);
      else if (offset < end) this.stretches.push({ start: offset, end });
      reached = Math.max(reached, offset + length);
    }
  }

  /** Whether something between two places is taken more than once. */
  meet(start: number, end: number): boolean {
    let [low, high] = [0, this.stretches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.stretches[middle]?.end ?? 0) <= start) low = middle + 1;
      else high = middle;
    }
    return (this.stretches[low]?.start ?? Infinity) < end;
  }
}
