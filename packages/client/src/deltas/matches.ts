import { runBackward, runForward } from "./common-run.js";

/** A stretch of the new document that stands in the base too. */
export interface Match {
  /** In the new document. */
  readonly at: number;
  /** In the base. */
  readonly from: number;
  readonly length: number;
}

/** Where the comparison stands: all before `at` is dealt with, all from `end` on is known to be the base's end. */
export interface Gap {
  /** In the new document. */
  readonly at: number;
  readonly end: number;
  /** In the base: where it goes on after the last match, and where its end begins that is the new document's too. */
  readonly from: number;
  readonly fromEnd: number;
}

/** Shorter matches cost more as a piece than their bytes do. */
const SHORTEST = 32;
/** How far behind the last match the base is looked at for bytes that come again in the new document, and how far there. */
const NEAR_ANCHORS = [0, 32, 64, 128, 256, 512, 1024, 2048, 4096] as const;
const NEAR_WINDOW = 64 * 1024;
const WIDE_WINDOW = 512 * 1024;
/** How far into a gap its bytes are looked up in the whole base. Its first bytes are often an id or a time, and new. */
const FIRST_FAR_ANCHOR = 1024;
const OTHER_FAR_ANCHORS = [128, 4096, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024, 0] as const;
const FAR_BYTES = 64;
/** A gap up to this long is sent as it is, without being looked for in the whole base. */
const SMALL_GAP = 2048;
/** How often all bytes of the base may be searched in one comparison. */
const SEARCHES = 8;

/** Finds stretches of a new document in its base, in time that is bounded by the base's length. */
export class Matches {
  private left: number;

  constructor(
    private readonly base: Buffer,
    private readonly next: Buffer,
  ) {
    this.left = SEARCHES * base.length;
  }

  /** The next match in the gap. Undefined: what is left of it counts as new. */
  find(gap: Gap): Match | undefined {
    return (
      this.near(gap, NEAR_WINDOW) ??
      // Text from elsewhere before the base goes on, or a long insertion?
      this.far(gap, [FIRST_FAR_ANCHOR]) ??
      (gap.end - gap.at > NEAR_WINDOW ? this.near(gap, WIDE_WINDOW) : undefined) ??
      this.far(gap, OTHER_FAR_ANCHORS)
    );
  }

  /** The base goes on after some new bytes, or after some of its own that are gone: an edit in place. */
  private near(gap: Gap, size: number): Match | undefined {
    const window = this.next.subarray(gap.at, Math.min(gap.end, gap.at + size));
    for (const anchor of NEAR_ANCHORS) {
      const from = gap.from + anchor;
      if (from + SHORTEST > gap.fromEnd) break;
      const found = this.onlyPlace(window, from);
      if (found >= 0) return this.extend(gap, gap.at + found, from, gap.from);
    }
    return undefined;
  }

  /** Bytes that come more than once, such as those between any two messages, say nothing about the place. */
  private onlyPlace(window: Buffer, from: number): number {
    const anchor = this.base.subarray(from, from + SHORTEST);
    const found = window.indexOf(anchor);
    if (found < 0 || window.indexOf(anchor, found + 1) >= 0) return -1;
    return this.base.subarray(from + 1, from + 1 + window.length).includes(anchor) ? -1 : found;
  }

  /** The bytes stand somewhere else: text that moved, or a copy of what another member holds already. */
  private far(gap: Gap, anchors: readonly number[]): Match | undefined {
    if (gap.end - gap.at <= SMALL_GAP) return undefined;
    for (const anchor of anchors) {
      const at = gap.at + anchor;
      if (at + FAR_BYTES > gap.end) continue;
      if (this.left <= 0) return undefined;
      const wanted = this.next.subarray(at, at + FAR_BYTES);
      const after = this.base.indexOf(wanted, gap.from);
      this.left -= (after < 0 ? this.base.length : after) - gap.from;
      // The last one, too: of several bodies of a history the last is the most alike.
      const last = this.base.lastIndexOf(wanted);
      this.left -= this.base.length - Math.max(last, 0);
      const matches = [after, last].filter((from) => from >= 0).map((from) => this.extend(gap, at, from, 0));
      const [first, second] = matches;
      if (first && second) return second.length > first.length ? second : first;
      if (first) return first;
    }
    return undefined;
  }

  /** As far as it goes, both ways; in the base not before `floor`. */
  private extend(gap: Gap, at: number, from: number, floor: number): Match {
    const back = runBackward(this.next, at, this.base, from, Math.min(at - gap.at, from - floor));
    const ahead = runForward(this.next, at, this.base, from, Math.min(gap.end - at, this.base.length - from));
    return { at: at - back, from: from - back, length: back + ahead };
  }
}
