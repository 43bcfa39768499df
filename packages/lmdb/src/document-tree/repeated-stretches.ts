import type { ByteRange } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";

/** What of its base a document takes more than once. */
export class RepeatedStretches {
  /** Ascending; where one ends before the next begins. */
  private readonly stretches: { readonly start: number; end: number }[] = [];
  /** What the document takes, by where it starts; each with the furthest end of it and those before. */
  private readonly taken: { readonly start: number; readonly reached: number }[] = [];

  constructor(document: DocumentParts) {
    const ranges = document.filter((part): part is ByteRange => !(part instanceof Uint8Array));
    ranges.sort((a, b) => a.offset - b.offset);
    let reached = 0;
    for (const { offset, length } of ranges) {
      const end = Math.min(reached, offset + length);
      const last = this.stretches.at(-1);
      if (last && offset <= last.end) last.end = Math.max(last.end, end);
      else if (offset < end) this.stretches.push({ start: offset, end });
      reached = Math.max(reached, offset + length);
      this.taken.push({ start: offset, reached });
    }
  }

  /** Whether something between two places is taken more than once. */
  meet(start: number, end: number): boolean {
    return (this.stretches[this.firstThatEndsAfter(start)]?.start ?? Infinity) < end;
  }

  /** What lies between two places, cut where a stretch begins or ends. */
  *cut(
    start: number,
    end: number,
  ): Generator<{ readonly start: number; readonly end: number; readonly isShared: boolean }> {
    let at = start;
    for (let index = this.firstThatEndsAfter(start); at < end; index += 1) {
      const next = this.stretches[index] ?? { start: end, end };
      const [from, to] = [Math.min(next.start, end), Math.min(next.end, end)];
      if (at < from) yield { start: at, end: from, isShared: false };
      if (from < to) yield { start: Math.max(at, from), end: to, isShared: true };
      at = to;
    }
  }

  /** Whether everything between two places is taken at once somewhere. */
  isTakenWhole(start: number, end: number): boolean {
    let [low, high] = [0, this.taken.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.taken[middle]?.start ?? 0) <= start) low = middle + 1;
      else high = middle;
    }
    return (this.taken[low - 1]?.reached ?? 0) >= end;
  }

  private firstThatEndsAfter(place: number): number {
    let [low, high] = [0, this.stretches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.stretches[middle]?.end ?? 0) <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
