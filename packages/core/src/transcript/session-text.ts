import type { DocumentParts } from "../engine.js";
import { type Gap, GAP_BYTE, Gaps } from "@bolthole/json";
import { LeftOut } from "./left-out.js";
import type { PlacedMessages } from "./remembered-session.js";

/** A document's text as a check reads it: whole, or with messages left out that are remembered. */
export interface SessionText {
  readonly bytes: Uint8Array;
  readonly gaps?: Gaps | undefined;
  /** Where a place in `bytes` lies in the whole document. */
  offsetOf(place: number): number;
}

export const wholeText = (bytes: Uint8Array): SessionText => ({ bytes, offsetOf: (place) => place });

/** Fewer bytes of messages are read again rather than left out. */
const LEAST_LEFT_OUT = 512;

/** A part of the stored document. */
interface Stretch {
  readonly offset: number;
  readonly length: number;
}

/** A part of the text that is still to be read from the stored document, new bytes, or messages that are left out. */
type Part = Stretch | Uint8Array | LeftOutPart;

interface LeftOutPart {
  readonly leftOut: LeftOut;
  /** In bytes, of what is left out. */
  readonly length: number;
}

/** By how many bytes the gaps up to a place put off what follows it. */
interface Shift {
  readonly after: number;
  readonly by: number;
}

/** What a patched document's text is made of, in order. */
export class TextPlan {
  private readonly parts: Part[] = [];
  /** In bytes, with one for each gap. */
  length = 0;

  /** `lists` are those of the stored document, in the order of their places. */
  constructor(
    document: DocumentParts,
    lists: readonly PlacedMessages[],
    private readonly leastLeftOut = LEAST_LEFT_OUT,
  ) {
    for (const part of document) {
      if (part instanceof Uint8Array) this.add(part);
      else this.copy(part.offset, part.offset + part.length, lists);
    }
  }

  /** What has to be read of the stored document. */
  stretches(): Stretch[] {
    return this.parts.filter((part): part is Stretch => !(part instanceof Uint8Array) && "offset" in part);
  }

  /** With those stretches, in their order. */
  text(stretches: readonly Uint8Array[]): SessionText {
    const bytes = Buffer.allocUnsafe(this.length);
    const gaps = new Map<number, Gap>();
    const shifts: Shift[] = [];
    let at = 0;
    let shift = 0;
    let next = 0;
    for (const part of this.parts) {
      if (!(part instanceof Uint8Array) && "leftOut" in part) {
        gaps.set(at, part.leftOut);
        bytes[at] = GAP_BYTE;
        shift += part.length - 1;
        shifts.push({ after: at, by: shift });
        at += 1;
      } else {
        bytes.set(part instanceof Uint8Array ? part : (stretches[next++] ?? new Uint8Array()), at);
        at += part.length;
      }
    }
    return { bytes, gaps: new Gaps(gaps), offsetOf: (place) => place + shiftAt(place, shifts) };
  }

  private copy(start: number, end: number, lists: readonly PlacedMessages[]): void {
    let from = start;
    for (let index = firstEndingAfter(lists, start); index < lists.length; index++) {
      const list = lists[index];
      if (!list || list.at >= end) break;
      const { starts, ends } = list.messages;
      const first = countBelow(starts, start - list.at);
      const last = countBelow(ends, end - list.at + 1) - 1;
      if (first > last) continue;
      const messagesAt = list.at + (starts[first] ?? 0);
      const messagesEnd = list.at + (ends[last] ?? 0);
      if (messagesEnd - messagesAt < this.leastLeftOut) continue;
      this.read(from, messagesAt);
      const leftOut = new LeftOut(list.messages, first, last - first + 1);
      this.parts.push({ leftOut, length: messagesEnd - messagesAt });
      this.length += 1;
      from = messagesEnd;
    }
    this.read(from, end);
  }

  private read(from: number, to: number): void {
    if (to > from) this.add({ offset: from, length: to - from });
  }

  private add(part: Uint8Array | Stretch): void {
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

function firstEndingAfter(lists: readonly PlacedMessages[], place: number): number {
  let low = 0;
  let high = lists.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const list = lists[middle];
    const end = list ? list.at + (list.messages.ends.at(-1) ?? 0) : 0;
    if (end > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** How many of ascending numbers are below a bound. */
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
