import type { Buffer } from "node:buffer";

import { type Shape, skipIfCanonical } from "../shapes/shape.js";
import { CLOSE_LIST, COMMA, OPEN_LIST } from "../text/characters.js";
import { type JsonError, withMissing } from "../text/json-error.js";
import type { Gap, JsonReader } from "../text/reader.js";
import { JsonWriter } from "../text/writer.js";
import { MESSAGE } from "./message.js";

/** A gap in a list: messages that were elided from the document's text. */
export interface ListGap {
  /** The number of read messages before the gap. */
  readonly before: number;
  readonly gap: Gap;
  /** The position of the gap in the bytes from which the list was read. */
  readonly place: number;
}

/**
 * The messages of a transcript, as canonical bytes. A message that is canonical in the document is kept as a range of the
 * document's bytes; the others are written into a buffer of the list. Elided messages are not counted; see `gaps`.
 */
export class MessageList {
  /** The start of each canonical message in `source`; or the complement (`~`) of its start in `rewritten`. */
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private rewritten: Buffer | undefined;
  /** The range of each message in the document, in whatever form it has there. */
  private readonly places: number[] = [];
  private readonly placesEnd: number[] = [];
  readonly gaps: ListGap[] = [];

  private constructor(
    private readonly source: Buffer,
    /** The number of containers around the messages. */
    readonly depth: number,
    /** Whether the messages are canonical raw JSON. */
    readonly isCanonicalRawJson: boolean,
  ) {}

  static read(reader: JsonReader): MessageList {
    reader.openList();
    const messages = new MessageList(reader.bytes, reader.depth, reader.isCanonicalRawJson);
    const { starts, ends, places, placesEnd } = messages;
    let out: JsonWriter | undefined;
    let missing: JsonError | undefined;
    for (let isFirst = true; ; isFirst = false) {
      try {
        if (!reader.nextElement(isFirst)) break;
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
      } catch (error) {
        missing = withMissing(missing, error, starts.length);
        starts.push(reader.position);
      }
    }
    if (missing !== undefined) throw missing;
    messages.rewritten = out?.bytes.subarray(0, out.length);
    return messages;
  }

  get length(): number {
    return this.starts.length;
  }

  /** Returns the position in `document` at which the bytes of the list begin. Undefined when it was not read from `document`. */
  originIn(document: Uint8Array): number | undefined {
    const { buffer, byteOffset, length } = this.source;
    const origin = byteOffset - document.byteOffset;
    return buffer === document.buffer && origin >= 0 && origin + length <= document.length ? origin : undefined;
  }

  /** Returns the range of a message in the bytes from which the list was read. */
  placeOf(index: number): readonly [start: number, end: number] {
    return [this.places[index] ?? 0, this.placesEnd[index] ?? 0];
  }

  /** Returns the canonical JSON of one message. */
  at(index: number): Buffer {
    return this.bytesBetween(index, index);
  }

  /** Yields the canonical JSON of the messages from `from` to `to`, with commas inside each slice, in as few slices as possible. */
  *slices(from: number, to: number): Generator<Buffer> {
    for (let first = from; first < to;) {
      const last = this.lastAdjacent(first, to);
      yield this.bytesBetween(first, last);
      first = last + 1;
    }
  }

  /** Returns the total length of these slices, with a comma between two messages. */
  byteLength(from: number, to: number): number {
    let total = Math.max(0, to - from - 1);
    for (let index = from; index < to; index++) total += this.at(index).length;
    return total;
  }

  /** Returns the last message before `to` that `first` reaches through adjacent messages, separated by nothing but a comma. */
  private lastAdjacent(first: number, to: number): number {
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
    if (start === undefined || end === undefined) {
      throw new RangeError(`expected a range of the ${this.length} messages, found ${first} to ${last}`);
    }
    return start >= 0 ? this.source.subarray(start, end) : (this.rewritten ?? this.source).subarray(~start, end);
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
  form: () => ({ kind: "list", element: MESSAGE.form() }),
};
