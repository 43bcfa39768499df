import { Buffer } from "node:buffer";

import { copyCanonical, skipCanonicalRawJson } from "../text/canonical-json.js";
import { BACKSLASH, OPEN_OBJECT, QUOTE, SPACE } from "../text/characters.js";
import { JsonError } from "../text/json-error.js";
import { type Gaps, JsonReader, skipValue } from "../text/reader.js";
import { type JsonWriter, withWriter } from "../text/writer.js";
import { type Form, valueForm } from "./form.js";
import { type Shape, skipIfCanonical } from "./shape.js";

/** A JSON value of any kind, carried as text. Only the readers below create one, so its text is valid JSON. */
export class RawJson {
  static readonly EMPTY_OBJECT = new RawJson(Buffer.from("{}"));

  private constructor(
    private readonly bytes: Buffer,
    /** The number of containers around the value, where it matters for gaps. */
    private readonly depth = 0,
    private readonly gaps?: Gaps,
  ) {}

  /** Reads a value into its canonical form (contract 9.8). */
  static read(reader: JsonReader): RawJson {
    return new RawJson(
      withWriter(
        0,
        (out) => {
          copyCanonical(reader, out);
        },
        (out) => out.toBuffer(),
      ),
    );
  }

  /** Reads a value into its canonical form, but shares the source's bytes when they are canonical already. */
  static readInPlace(reader: JsonReader): RawJson {
    reader.peek();
    const start = reader.position;
    if (!skipIfCanonical(RAW_JSON, reader)) return RawJson.read(reader);
    return new RawJson(reader.bytes.subarray(start, reader.position), reader.depth, reader.gapsFrom(start));
  }

  /** Reads a value and changes nothing but the white space between its parts, which is removed. */
  static readVerbatim(reader: JsonReader): RawJson {
    reader.peek();
    const start = reader.position;
    // The value is kept, so it must satisfy the rules for values that are interpreted.
    reader.bufferingDepth++;
    skipValue(reader);
    reader.bufferingDepth--;
    return new RawJson(withoutSpace(reader.bytes.subarray(start, reader.position)));
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  isObject(): boolean {
    return this.bytes[0] === OPEN_OBJECT;
  }

  isEmptyObject(): boolean {
    return this.bytes.length === 2 && this.isObject();
  }

  write(out: JsonWriter): void {
    out.writeRaw(this.bytes);
  }

  /** Returns a reader of the value, which does not round its numbers a second time. */
  toReader(): JsonReader {
    return new JsonReader(this.bytes, this.depth, true, this.gaps);
  }

  /** Returns a reader of the value of one member. Undefined when the object has no member of this name. */
  member(name: string): JsonReader | undefined {
    const reader = this.toReader();
    const wanted = Buffer.from(name);
    reader.openObject();
    for (let isFirst = true; reader.nextMember(isFirst); isFirst = false) {
      if (reader.tokenIs(wanted)) return reader;
      skipValue(reader);
    }
    return undefined;
  }

  toString(): string {
    return this.bytes.toString("utf8");
  }
}

class RawJsonShape implements Shape<RawJson> {
  constructor(
    readonly label: string,
    private readonly isObjectOnly: boolean,
    private readonly mode: "canonical" | "in place" | "verbatim",
  ) {}

  read(reader: JsonReader): RawJson {
    if (this.isObjectOnly && reader.peek() !== OPEN_OBJECT) throw reader.error(`expected ${this.label}`);
    if (this.mode === "verbatim") return RawJson.readVerbatim(reader);
    return this.mode === "in place" ? RawJson.readInPlace(reader) : RawJson.read(reader);
  }

  write(value: RawJson, out: JsonWriter): void {
    if (!(value instanceof RawJson)) throw JsonError.at(`expected ${this.label}`);
    value.write(out);
  }

  skipCanonical(reader: JsonReader): boolean {
    if (this.isObjectOnly && reader.bytes[reader.position] !== OPEN_OBJECT) return false;
    if (this.mode !== "verbatim") return skipCanonicalRawJson(reader);
    const start = reader.position;
    return RawJson.readVerbatim(reader).byteLength === reader.position - start;
  }

  form(): Form {
    return valueForm(this.isObjectOnly ? { type: "object" } : {}, {});
  }
}

export const RAW_JSON: Shape<RawJson> = new RawJsonShape("a JSON value", false, "canonical");
export const RAW_OBJECT: Shape<RawJson> = new RawJsonShape("an object", true, "canonical");

/** A large object that is rarely read further. It shares the source's bytes, which must not change while it is in use. */
export const RAW_OBJECT_IN_PLACE: Shape<RawJson> = new RawJsonShape("an object", true, "in place");

/** An object that keeps the order of its members and the spelling of its numbers and strings. */
export const VERBATIM_OBJECT: Shape<RawJson> = new RawJsonShape("an object", true, "verbatim");

/**
 * A value whose model is a string: the JSON text of `content`. Reading returns its canonical form; writing accepts every text
 * that `content` accepts.
 */
export function jsonText<T>(content: Shape<T>): Shape<string> {
  return {
    label: `JSON text of ${content.label}`,
    read(reader) {
      reader.peek();
      const start = reader.position;
      if (skipIfCanonical(content, reader)) return reader.textBetween(start, reader.position);
      const value = content.read(reader);
      return withWriter(
        reader.depth,
        (out) => {
          content.write(value, out);
        },
        (out) => out.toString(),
      );
    },
    write(text, out) {
      if (typeof text !== "string") throw JsonError.at("expected JSON text");
      // The text is checked at the depth at which it will be read again.
      const reader = new JsonReader(text, out.depth);
      if (skipIfCanonical(content, reader) && reader.position === reader.bytes.length) {
        out.writeRaw(reader.bytes);
        return;
      }
      reader.position = 0;
      const value = content.read(reader);
      reader.finish();
      content.write(value, out);
    },
    form: () => content.form(),
  };
}

/** A value whose model is its JSON text, unchanged, for a document that is known to be canonical. It cannot be written. */
export function trustedJsonText(label: string): Shape<string> {
  return {
    label,
    read(reader) {
      reader.peek();
      const start = reader.position;
      skipValue(reader);
      return reader.textBetween(start, reader.position);
    },
    write() {
      throw JsonError.at(`expected another shape: ${label} as trusted text can only be read`);
    },
    form: () => valueForm({}, {}),
  };
}

/** A shape that recognises the canonical form by writing the value again: for members that are computed from others. */
export function canonicalByWriting<T>(shape: Shape<T>): Shape<T> {
  return {
    label: shape.label,
    read: (reader) => shape.read(reader),
    write: (value, out) => {
      shape.write(value, out);
    },
    skipCanonical(reader) {
      const start = reader.position;
      const value = shape.read(reader);
      return withWriter(
        reader.depth,
        (out) => {
          shape.write(value, out);
        },
        (out) => out.bytes.subarray(0, out.length).equals(reader.bytes.subarray(start, reader.position)),
      );
    },
    form: () => shape.form(),
  };
}

function withoutSpace(text: Buffer): Buffer {
  const kept = Buffer.allocUnsafe(text.length);
  let length = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text[at] ?? 0;
    if (code === QUOTE) isInString = !isInString;
    if (!isInString && code <= SPACE) continue;
    kept[length++] = code;
    // A quote after a backslash does not end the string.
    if (code === BACKSLASH) kept[length++] = text[++at] ?? 0;
  }
  return kept.subarray(0, length);
}
