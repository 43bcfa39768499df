import type { Buffer } from "node:buffer";

import { CLOSE_LIST, COMMA, OPEN_LIST } from "./ascii.js";
import type { Gap } from "./gaps.js";
import { inside } from "./json-error.js";
import { MESSAGE } from "./message.js";
import { skipIfCanonical } from "./normalised-text.js";
import type { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { JsonWriter } from "./writer.js";

/** Messages of a list that were left out, and how many of those that were read come before them. */
export interface ListGap {
  readonly before: number;
  readonly gap: Gap;
  /** Where they would stand in the document's bytes. */
  readonly place: number;
}

/**
 * Messages in their written form. One that stands so in its document is a place in that document's bytes, the others were
 * written into bytes of the list's own. Messages that were left out of the document are not counted; `gaps` tells of them.
 */
export class MessageList {
  /** Places in `source`; a place in `own` is stored as its complement. */
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private own: Buffer | undefined;
  /** Where each message stands in the document, in whatever form. */
  private readonly places: number[] = [];
  private readonly placesEnd: number[] = [];
  readonly gaps: ListGap[] = [];

  private constructor(
    private readonly source: Buffer,
    /** Containers around the messages. */
    readonly depth: number,
    /** They stand in the written form of free JSON. */
    readonly isCanonicalRawJson: boolean,
  ) {}

  static read(reader: JsonReader): MessageList {
    reader.openList();
    const messages = new MessageList(reader.bytes, reader.depth, reader.isCanonicalRawJson);
    const { starts, ends, places, placesEnd } = messages;
    let out: JsonWriter | undefined;
    try {
      for (let isFirst = true; reader.nextElement(isFirst); isFirst = false) {
        reader.peek();
        const start = reader.position;
        const gap = reader.skipGap();
        if (gap) {
          messages.gaps.push({ before: starts.length, gap, place: start });
          continue;
        }
        places.push(start);
        if (skipIfCanonical(MESSAGE, reader)) {
          starts.push(start);
          ends.push(reader.position);
          placesEnd.push(reader.position);
          continue;
        }
        const value = MESSAGE.read(reader);
        out ??= new JsonWriter();
        if (out.length > 0) out.writeByte(COMMA);
        const place = out.length;
        MESSAGE.write(value, out);
        starts.push(~place);
        ends.push(out.length);
        placesEnd.push(reader.position);
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

  /** Where the list's places count from in a document's bytes; undefined when it was not read from these. */
  originIn(document: Uint8Array): number | undefined {
    const { buffer, byteOffset, length } = this.source;
    const origin = byteOffset - document.byteOffset;
    return buffer === document.buffer && origin >= 0 && origin + length <= document.length ? origin : undefined;
  }

  /** Where a message stands, as a place in what the list was read from. */
  placeOf(index: number): readonly [start: number, end: number] {
    return [this.places[index] ?? 0, this.placesEnd[index] ?? 0];
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
    out.writeByte(OPEN_LIST);
    let isFirst = true;
    for (const slice of messages.slices(0, messages.length)) {
      if (!isFirst) out.writeByte(COMMA);
      isFirst = false;
      out.writeRaw(slice);
    }
    out.writeByte(CLOSE_LIST);
  },
};
