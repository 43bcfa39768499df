import type { MessageList } from "@bolthole/json";
import { LeftOut } from "./left-out.js";
import { type RememberedMessages, sharedCount } from "./remembered-session.js";

/** Messages that follow one another in their list, read from a document's bytes or remembered without them. */
export type Segment =
  | { readonly count: number; readonly read: MessageList; readonly from: number }
  | { readonly count: number; readonly known: RememberedMessages; readonly from: number };

/** What its messages are, one segment for each gap. */
export function segmentsOf(messages: MessageList): Segment[] {
  const segments: Segment[] = [];
  let from = 0;
  const readTo = (to: number): void => {
    if (to > from) segments.push({ count: to - from, read: messages, from });
    from = to;
  };
  for (const { before, gap } of messages.gaps) {
    readTo(before);
    if (!(gap instanceof LeftOut)) throw new TypeError("a text has only gaps of its own making");
    segments.push({ count: gap.count, known: gap.known, from: gap.from });
  }
  readTo(messages.length);
  return segments;
}

/** Segments that are one stretch of a list, or of lists that share it, as one. */
export function joined(segments: readonly Segment[]): Segment[] {
  const result: Segment[] = [];
  for (const segment of segments) {
    const last = result.at(-1);
    if (last && "known" in last && "known" in segment && last.from + last.count === segment.from) {
      if (sharedCount(last.known, segment.known) >= segment.from) {
        result[result.length - 1] = { count: last.count + segment.count, known: segment.known, from: last.from };
        continue;
      }
    }
    result.push(segment);
  }
  return result;
}
