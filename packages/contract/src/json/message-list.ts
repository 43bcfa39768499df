import type { Buffer } from "node:buffer";

import { CLOSE_LIST, COMMA, OPEN_LIST } from "./ascii.js";
import { inside } from "./json-error.js";
import { MESSAGE } from "./message.js";
import { isWrittenHere } from "./normalised-text.js";
import type { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { JsonWriter } from "./writer.js";

/**
 * Messages in their written form. One that stands so in its document is a place in that document's bytes, the others were
 * written into bytes of the list's own.
 */
export class MessageList {
  /** Places in `source`; a place in `own` is stored as its complement. */
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private own: Buffer | undefined;

  private constructor(private readonly source: Buffer) {}

  static read(reader: JsonReader): MessageList {
    const messages = new MessageList(reader.bytes);
    const { starts, ends } = messages;
    let out: JsonWriter | undefined;
    reader.openList();
    try {
      while (reader.nextElement(starts.length === 0)) {
        reader.peek();
        const start = reader.position;
        if (isWrittenHere(MESSAGE, reader)) {
          starts.push(start);
          ends.push(reader.position);
          continue;
        }
        const value = MESSAGE.read(reader);
        out ??= new JsonWriter();
        if (out.length > 0) out.byte(COMMA);
        const place = out.length;
        MESSAGE.write(value, out);
        starts.push(~place);
        ends.push(out.length);
      }
    } catch (error) {
      throw inside(error, starts.length);
    }
    messages.own = out?.bytes.subarray(0, out.length);
    return messages;
  }

  get length(): number {
    return this.starts.length;
  }

  /** The written form of one message. */
  at(index: number): Buffer {
    return this.bytesBetween(index, index);
  }

  /** The messages from `from` up to `to` with commas between them, in as few slices as they lie in. */
  *slices(from: number, to: number): Generator<Buffer> {
    for (let first = from; first < to;) {
      const last = this.runEnd(first, to);
      yield this.bytesBetween(first, last);
      first = last + 1;
    }
  }

  /** The length of those slices with the commas between them. */
  byteLength(from: number, to: number): number {
    let total = Math.max(0, to - from - 1);
    for (let index = from; index < to; index++) total += this.at(index).length;
    return total;
  }

  /** The last message that follows `first` without a gap, with nothing but a comma between two. */
  private runEnd(first: number, to: number): number {
    const { starts, ends } = this;
    let last = first;
    if ((starts[first] ?? 0) >= 0) {
      while (last + 1 < to) {
        const end = ends[last] ?? 0;
        if (starts[last + 1] !== end + 1 || this.source[end] !== COMMA) break;
        last++;
      }
    } else {
      while (last + 1 < to && starts[last + 1] === ~((ends[last] ?? 0) + 1)) last++;
    }
    return last;
  }

  private bytesBetween(first: number, last: number): Buffer {
    const start = this.starts[first];
    const end = this.ends[last];
    if (start === undefined || end === undefined) throw new RangeError(`no message ${first}`);
    return start >= 0 ? this.source.subarray(start, end) : (this.own ?? this.source).subarray(~start, end);
  }
}

export const MESSAGES: Shape<MessageList> = {
  label: "a list of messages",
  read: (reader) => MessageList.read(reader),
  write(messages, out) {
    out.byte(OPEN_LIST);
    let isFirst = true;
    for (const slice of messages.slices(0, messages.length)) {
      if (!isFirst) out.byte(COMMA);
      isFirst = false;
      out.raw(slice);
    }
    out.byte(CLOSE_LIST);
  },
};
