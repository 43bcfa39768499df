import type { DocumentPart, SnapshotPatch } from "@bolthole/contract";
import { type CachedDocument, asBuffer } from "./document-cache.js";

/** A smaller document is always sent in full: a patch would not save noticeable time. */
const MIN_PATCHED_BYTES = 16 * 1024;
/** The estimated size of one part in a message, without its new bytes. */
const PART_BYTES = 16;

/** The daemon's limits for one patch. */
export interface PatchLimits {
  /** The number of parts. */
  readonly patchPieces: number;
  /** The new bytes in all parts together. */
  readonly patchInsertBytes: number;
}

/**
 * Returns a document, whose CRC-32 is `checksum`, as a patch of the base. Returns undefined when it is better sent in
 * full: it is small, it has little in common with the base, or the patch would exceed the limits.
 */
export function createPatch(
  base: CachedDocument,
  document: Uint8Array,
  checksum: number,
  limits: PatchLimits,
): SnapshotPatch | undefined {
  if (document.length < MIN_PATCHED_BYTES) return undefined;
  const pieces = diffDocuments(base.bytes, asBuffer(document), limits);
  if (!pieces) return undefined;
  const cost = pieces.reduce((total, part) => total + PART_BYTES + (part instanceof Uint8Array ? part.length : 0), 0);
  if (cost > document.length / 2) return undefined;
  // The checksum is computed from the new document itself, not from its parts. So it also proves to the daemon that the
  // cached bytes are still those of the base version.
  return { baseVersion: base.version, resultLength: document.length, resultCrc32: checksum, pieces };
}

/**
 * Returns the new document as ranges of the base and new bytes; the new bytes share memory with `next`. Returns
 * undefined when the result would exceed the limits.
 *
 * The common beginning and the common end each cost one memory comparison. Between them, a `MatchFinder` finds ranges
 * that are near their old place, and in long gaps also ranges from anywhere in the base.
 *
 * This runs in every turn, on documents of tens of megabytes: measure changes.
 */
export function diffDocuments(base: Buffer, next: Buffer, limits: PatchLimits): readonly DocumentPart[] | undefined {
  const prefix = commonLengthAfter(base, 0, next, 0, Math.min(base.length, next.length));
  const suffix = commonLengthBefore(base, base.length, next, next.length, Math.min(base.length, next.length - prefix));
  const end = next.length - suffix;
  const matches = new MatchFinder(base, next);
  const patch = new PatchBuilder(next, limits);
  patch.copy(0, prefix);
  let at = prefix;
  let baseAt = prefix;
  while (at < end) {
    const match = matches.find({ at, end, baseAt, baseEnd: base.length - suffix });
    patch.insert(at, match ? match.at : end);
    if (match) {
      patch.copy(match.baseAt, match.length);
      baseAt = match.baseAt + match.length;
    }
    at = match ? match.at + match.length : end;
    if (patch.exceedsLimits) return undefined;
  }
  patch.copy(base.length - suffix, suffix);
  return patch.exceedsLimits ? undefined : patch.parts;
}

/** The parts of a new document, added from its beginning to its end. */
class PatchBuilder {
  readonly parts: DocumentPart[] = [];
  private insertedBytes = 0;

  constructor(
    private readonly next: Buffer,
    private readonly limits: PatchLimits,
  ) {}

  /** Adds a range of the base. Joins it with the last range when it continues it. */
  copy(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.parts.at(-1);
    if (last !== undefined && !(last instanceof Uint8Array) && last.offset + last.length === offset) {
      this.parts[this.parts.length - 1] = { offset: last.offset, length: last.length + length };
    } else {
      this.parts.push({ offset, length });
    }
  }

  /** Adds the bytes `[start, end)` of the new document. */
  insert(start: number, end: number): void {
    if (start === end) return;
    this.parts.push(this.next.subarray(start, end));
    this.insertedBytes += end - start;
  }

  get exceedsLimits(): boolean {
    return this.parts.length > this.limits.patchPieces || this.insertedBytes > this.limits.patchInsertBytes;
  }
}

/** A range of the new document that is also in the base. */
interface Match {
  /** The offset in the new document. */
  readonly at: number;
  /** The offset in the base. */
  readonly baseAt: number;
  readonly length: number;
}

/** The range of the new document that is not assigned yet, and the range of the base where its bytes are expected. */
interface Gap {
  readonly at: number;
  /** The offset in the new document where the common end begins. */
  readonly end: number;
  /** The offset in the base behind the last match. */
  readonly baseAt: number;
  /** The offset in the base where the common end begins. */
  readonly baseEnd: number;
}

/** A shorter match costs more as a part than its bytes do. */
const MIN_MATCH_BYTES = 32;
/** Offsets behind the last match in the base from which bytes are searched for in the new document. */
const NEAR_ANCHORS = [0, 32, 64, 128, 256, 512, 1024, 2048, 4096] as const;
/** How much of the new document is searched for the bytes at a near anchor. */
const NEAR_WINDOW = 64 * 1024;
const WIDE_WINDOW = 512 * 1024;
/** The first offset in a gap whose bytes are searched for in the whole base. Earlier bytes are often a new id or time. */
const FIRST_FAR_ANCHOR = 1024;
const OTHER_FAR_ANCHORS = [128, 4096, 16 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024, 0] as const;
/** How many bytes at a far anchor are searched for. */
const FAR_BYTES = 64;
/** A gap up to this length is not searched for in the whole base: it is sent as new bytes. */
const SMALL_GAP = 2048;
/** How many times the length of the base may be searched in one diff. */
const MAX_BASE_SEARCHES = 8;

/** Finds ranges of a new document in its base. The time is bounded by a multiple of the base's length. */
class MatchFinder {
  private searchBytesLeft: number;

  constructor(
    private readonly base: Buffer,
    private readonly next: Buffer,
  ) {
    this.searchBytesLeft = MAX_BASE_SEARCHES * base.length;
  }

  /** Returns the next match in the gap. Undefined: the rest of the gap counts as new bytes. */
  find(gap: Gap): Match | undefined {
    return (
      this.findNear(gap, NEAR_WINDOW) ??
      // A copied or moved text may come before the base continues; that is tried before a long insertion.
      this.findFar(gap, [FIRST_FAR_ANCHOR]) ??
      (gap.end - gap.at > NEAR_WINDOW ? this.findNear(gap, WIDE_WINDOW) : undefined) ??
      this.findFar(gap, OTHER_FAR_ANCHORS)
    );
  }

  /** Finds an edit in place: the base continues after some inserted or some removed bytes. */
  private findNear(gap: Gap, size: number): Match | undefined {
    const window = this.next.subarray(gap.at, Math.min(gap.end, gap.at + size));
    for (const anchor of NEAR_ANCHORS) {
      const baseAt = gap.baseAt + anchor;
      if (baseAt + MIN_MATCH_BYTES > gap.baseEnd) break;
      const found = this.uniquePlace(window, baseAt);
      if (found >= 0) return this.extend(gap, gap.at + found, baseAt, gap.baseAt);
    }
    return undefined;
  }

  /**
   * Returns where the bytes at `baseAt` are in the window, or -1 when they are not there or more than once in either
   * document: repeated bytes, such as those between any two messages, do not identify a place.
   */
  private uniquePlace(window: Buffer, baseAt: number): number {
    const anchor = this.base.subarray(baseAt, baseAt + MIN_MATCH_BYTES);
    const found = window.indexOf(anchor);
    if (found < 0 || window.indexOf(anchor, found + 1) >= 0) return -1;
    return this.base.subarray(baseAt + 1, baseAt + 1 + window.length).includes(anchor) ? -1 : found;
  }

  /** Finds text that was moved, or copied from another place in the base. */
  private findFar(gap: Gap, anchors: readonly number[]): Match | undefined {
    if (gap.end - gap.at <= SMALL_GAP) return undefined;
    for (const anchor of anchors) {
      const at = gap.at + anchor;
      if (at + FAR_BYTES > gap.end) continue;
      if (this.searchBytesLeft <= 0) return undefined;
      const wanted = this.next.subarray(at, at + FAR_BYTES);
      const after = this.base.indexOf(wanted, gap.baseAt);
      this.searchBytesLeft -= (after < 0 ? this.base.length : after) - gap.baseAt;
      // The last place is tried too: of several bodies in a history, the last one is the most similar.
      const last = this.base.lastIndexOf(wanted);
      this.searchBytesLeft -= this.base.length - Math.max(last, 0);
      const matches = [after, last].filter((place) => place >= 0).map((place) => this.extend(gap, at, place, 0));
      const [first, second] = matches;
      if (first && second) return second.length > first.length ? second : first;
      if (first) return first;
    }
    return undefined;
  }

  /** Extends a match in both directions, in the base not before `minBaseAt`. */
  private extend(gap: Gap, at: number, baseAt: number, minBaseAt: number): Match {
    const back = commonLengthBefore(this.next, at, this.base, baseAt, Math.min(at - gap.at, baseAt - minBaseAt));
    const ahead = commonLengthAfter(
      this.next,
      at,
      this.base,
      baseAt,
      Math.min(gap.end - at, this.base.length - baseAt),
    );
    return { at: at - back, baseAt: baseAt - back, length: back + ahead };
  }
}

const FIRST_STEP = 64;
/** Longer comparisons are not faster. */
const MAX_STEP = 64 * 1024;

/** Returns how many bytes are equal from `aAt` and `bAt` on. At most `limit`, which must be within both buffers. */
const commonLengthAfter = (a: Buffer, aAt: number, b: Buffer, bAt: number, limit: number): number =>
  commonLength({ a, aAt, b, bAt, isBackward: false }, limit);

/** Returns how many bytes are equal before `aEnd` and `bEnd`. At most `limit`, which must be within both buffers. */
const commonLengthBefore = (a: Buffer, aEnd: number, b: Buffer, bEnd: number, limit: number): number =>
  commonLength({ a, aAt: aEnd, b, bAt: bEnd, isBackward: true }, limit);

/**
 * Two places whose bytes are compared, forward or backward. This is data and not a closure: there are many comparisons,
 * and each new closure would start without the compiler's optimisations.
 */
interface Comparison {
  readonly a: Buffer;
  readonly aAt: number;
  readonly b: Buffer;
  readonly bAt: number;
  readonly isBackward: boolean;
}

/** Compares in steps that double, so that short ranges are cheap and long ones are compared at the speed of memory. */
function commonLength(comparison: Comparison, limit: number): number {
  let equal = 0;
  let step = FIRST_STEP;
  while (equal < limit) {
    const length = Math.min(step, limit - equal);
    if (!areEqual(comparison, equal, length)) return firstDifference(comparison, equal, length);
    equal += length;
    step = Math.min(step * 2, MAX_STEP);
  }
  return equal;
}

/** Returns the distance of the first difference, by bisection. The `length` bytes at distance `from` must differ. */
function firstDifference(comparison: Comparison, from: number, length: number): number {
  let equal = from;
  let different = from + length;
  while (different - equal > 1) {
    const middle = (equal + different) >>> 1;
    if (areEqual(comparison, equal, middle - equal)) equal = middle;
    else different = middle;
  }
  return equal;
}

/** Whether the `length` bytes at distance `from` are equal. */
function areEqual({ a, aAt, b, bAt, isBackward }: Comparison, from: number, length: number): boolean {
  const shift = isBackward ? -from - length : from;
  return a.compare(b, bAt + shift, bAt + shift + length, aAt + shift, aAt + shift + length) === 0;
}
