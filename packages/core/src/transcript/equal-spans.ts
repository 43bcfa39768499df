import { spanKey } from "./remembered-session.js";
import type { Transcript } from "./transcript.js";

interface EqualSpan {
  readonly one: Transcript;
  readonly from: number;
  readonly other: Transcript;
  readonly otherFrom: number;
  readonly count: number;
}

/** What one check learns about equal messages in different lists, and what is known of it from earlier ones. */
export class EqualSpans {
  private readonly found: EqualSpan[] = [];

  constructor(private readonly remembered: ReadonlySet<string> = new Set()) {}

  add(span: EqualSpan): void {
    if (span.one !== span.other && span.count > 0) this.found.push(span);
  }

  isRemembered(number: number, from: number, other: number, otherFrom: number, count: number): boolean {
    return (
      this.remembered.has(spanKey(number, from, other, otherFrom, count)) ||
      this.remembered.has(spanKey(other, otherFrom, number, from, count))
    );
  }

  /** Everything found, under the numbers that the lists are remembered by. */
  toRemember(numberOf: (transcript: Transcript) => number | undefined): ReadonlySet<string> {
    const spans = new Set<string>();
    for (const { one, from, other, otherFrom, count } of this.found) {
      const number = numberOf(one);
      const otherNumber = numberOf(other);
      if (number === undefined || otherNumber === undefined) continue;
      spans.add(spanKey(number, from, otherNumber, otherFrom, count));
    }
    return spans;
  }
}
