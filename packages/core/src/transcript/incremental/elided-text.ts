import type { ByteRange } from "@bolthole/contract";
import { type Gap, GAP_BYTE, Gaps } from "@bolthole/json";
import type { DocumentParts } from "../../engine.js";
import { ElidedMessages, type PlacedList } from "./session-index.js";

/** The text of a document as a check parses it: complete, or with a gap for each run of elided messages. */
export interface DocumentText {
  readonly bytes: Uint8Array;
  readonly gaps?: Gaps | undefined;
  /** Returns the offset in the document of an offset in `bytes`. */
  offsetOf(place: number): number;
}

export const completeText = (bytes: Uint8Array): DocumentText => ({ bytes, offsetOf: (place) => place });

/** Runs of messages with fewer bytes are parsed again, which costs less than a gap. */
const MIN_ELIDED_BYTES = 512;

/** A run of elided messages, and its length in bytes. */
interface ElidedPart {
  readonly elided: ElidedMessages;
  readonly length: number;
}

/** A part of the text: a range that is to be read from the stored document, new bytes, or elided messages. */
type TextPart = ByteRange | Uint8Array | ElidedPart;

/** A gap in the text: after the offset `after`, `by` bytes of the document are missing. */
interface Shift {
  readonly after: number;
  readonly by: number;
}

/** The parts that a patched document's text consists of, in order. */
export class TextPlan {
  private readonly parts: TextPart[] = [];
  /** The length of the text in bytes. A gap has one byte. */
  length = 0;

  /** `lists` are those of the stored document, in the order of their places. */
  constructor(
    document: DocumentParts,
    lists: readonly PlacedList[],
    private readonly minElidedBytes = MIN_ELIDED_BYTES,
  ) {
    for (const part of document) {
      if (part instanceof Uint8Array) this.add(part);
      else this.addCopied(part.offset, part.offset + part.length, lists);
    }
  }

  /** Returns the ranges of the stored document that the text needs. */
  ranges(): ByteRange[] {
    // A Buffer has a member `offset`, too.
    return this.parts.filter((part): part is ByteRange => !(part instanceof Uint8Array) && "offset" in part);
  }

  /** Builds the text. `ranges` are the bytes of the ranges that it needs, in their order. */
  text(ranges: readonly Uint8Array[]): DocumentText {
    const bytes = Buffer.allocUnsafe(this.length);
    const gaps = new Map<number, Gap>();
    const shifts: Shift[] = [];
    let at = 0;
    let shift = 0;
    let next = 0;
    for (const part of this.parts) {
      if ("elided" in part) {
        gaps.set(at, part.elided);
        bytes[at] = GAP_BYTE;
        shift += part.length - 1;
        shifts.push({ after: at, by: shift });
        at += 1;
      } else {
        bytes.set(part instanceof Uint8Array ? part : (ranges[next++] ?? new Uint8Array()), at);
        at += part.length;
      }
    }
    return { bytes, gaps: new Gaps(gaps), offsetOf: (place) => place + shiftAt(place, shifts) };
  }

  /**
   * Adds a range of the stored document, without the messages that it contains completely. They may be a part of a list:
   * that spares a large document a full check when it is stored without a guard after its system text was extended, or
   * after its last messages were removed.
   */
  private addCopied(start: number, end: number, lists: readonly PlacedList[]): void {
    let from = start;
    for (let index = firstEndingAfter(lists, start); index < lists.length; index++) {
      const placed = lists[index];
      if (!placed || placed.at >= end) break;
      const { list, at } = placed;
      const first = countBelow(list.starts, start - at);
      const last = countBelow(list.ends, end - at + 1) - 1;
      if (first > last) continue;
      const messagesAt = at + (list.starts[first] ?? 0);
      const messagesEnd = at + (list.ends[last] ?? 0);
      const length = messagesEnd - messagesAt;
      if (length < this.minElidedBytes) continue;
      this.addRange(from, messagesAt);
      this.parts.push({ elided: new ElidedMessages(list, first, last - first + 1), length });
      this.length += 1;
      from = messagesEnd;
    }
    this.addRange(from, end);
  }

  private addRange(from: number, to: number): void {
    if (to > from) this.add({ offset: from, length: to - from });
  }

  private add(part: Uint8Array | ByteRange): void {
    this.parts.push(part);
    this.length += part.length;
  }
}

function shiftAt(place: number, shifts: readonly Shift[]): number {
  for (let index = shifts.length - 1; index >= 0; index--) {
    const shift = shifts[index];
    if (shift && shift.after < place) return shift.by;
  }
  return 0;
}

/** Returns the index of the first list whose messages end after a place. */
function firstEndingAfter(lists: readonly PlacedList[], place: number): number {
  let low = 0;
  let high = lists.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const placed = lists[middle];
    const end = placed ? placed.at + (placed.list.ends.at(-1) ?? 0) : 0;
    if (end > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Returns how many of the ascending numbers are below a bound. */
function countBelow(numbers: Uint32Array, bound: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] ?? 0) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
