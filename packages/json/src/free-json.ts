import { Buffer } from "node:buffer";

import { CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, MINUS, OPEN_LIST, OPEN_OBJECT, QUOTE, isDigit } from "./ascii.js";
import { JsonError, inside } from "./json-error.js";
import type { Gaps } from "./gaps.js";
import { canonicalNumber } from "./number.js";
import { compareByBytes } from "./byte-order.js";
import { skipCanonicalRawJson, rejectReservedName } from "./normalised-json.js";
import { skipIfCanonical } from "./normalised-text.js";
import { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { skipValue } from "./skip.js";
import { type JsonWriter, withWriter } from "./writer.js";

/** JSON of any form, already in its written form: only the readers here make it, so writing it trusts it. */
export class RawJson {
  private constructor(
    private readonly bytes: Buffer,
    /** Containers around it, where that is known. */
    private readonly depth = 0,
    private readonly gaps?: Gaps,
  ) {}

  /**
   * Normalises (section 7.5): members sorted by the bytes of their names, the last of two equal ones wins, numbers in
   * their written form.
   */
  static read(reader: JsonReader): RawJson {
    return new RawJson(
      withWriter(
        0,
        (out) => {
          copyValue(reader, out);
        },
        (out) => out.toBuffer(),
      ),
    );
  }

  /** Leaves everything as it stands, except white space between values. */
  static readVerbatim(reader: JsonReader): RawJson {
    reader.peek();
    const start = reader.position;
    // What is kept is held to the rules of what is read.
    reader.bufferingDepth++;
    skipValue(reader);
    reader.bufferingDepth--;
    return new RawJson(minified(reader.bytes.subarray(start, reader.position)));
  }

  /** Like `read`, but shares the bytes of the text if they are normalised already. */
  static readInPlace(reader: JsonReader): RawJson {
    reader.peek();
    const start = reader.position;
    const isInPlace = skipIfCanonical(RAW_JSON, reader);
    if (!isInPlace) return RawJson.read(reader);
    return new RawJson(reader.bytes.subarray(start, reader.position), reader.depth, reader.gapsFrom(start));
  }

  static readonly EMPTY_OBJECT = new RawJson(Buffer.from("{}"));

  get byteLength(): number {
    return this.bytes.length;
  }

  isEmptyObject(): boolean {
    return this.bytes.length === 2 && this.bytes[0] === OPEN_OBJECT;
  }

  isObject(): boolean {
    return this.bytes[0] === OPEN_OBJECT;
  }

  write(out: JsonWriter): void {
    out.writeRaw(this.bytes);
  }

  toReader(): JsonReader {
    return new JsonReader(this.bytes, this.depth, true, this.gaps);
  }

  /** Of an object: stands at the value of a member; undefined when there is none of that name. */
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
    private readonly manner: "normalised" | "in place" | "verbatim",
  ) {}

  read(reader: JsonReader): RawJson {
    if (this.isObjectOnly && reader.peek() !== OPEN_OBJECT) throw reader.error(`expected ${this.label}`);
    if (this.manner === "verbatim") return RawJson.readVerbatim(reader);
    return this.manner === "in place" ? RawJson.readInPlace(reader) : RawJson.read(reader);
  }

  write(value: RawJson, out: JsonWriter): void {
    if (!(value instanceof RawJson)) throw JsonError.at(`expected ${this.label}`);
    value.write(out);
  }

  skipCanonical(reader: JsonReader): boolean {
    if (this.isObjectOnly && reader.bytes[reader.position] !== OPEN_OBJECT) return false;
    if (this.manner !== "verbatim") return skipCanonicalRawJson(reader);
    const start = reader.position;
    return RawJson.readVerbatim(reader).byteLength === reader.position - start;
  }
}

export const RAW_JSON: Shape<RawJson> = new RawJsonShape("a JSON value", false, "normalised");
export const RAW_OBJECT: Shape<RawJson> = new RawJsonShape("an object", true, "normalised");

/** A large object that is rarely looked into: its text must stay as it is while the value is in use. */
export const RAW_OBJECT_IN_PLACE: Shape<RawJson> = new RawJsonShape("an object", true, "in place");

/** An object that is carried as it stands. */
export const VERBATIM_OBJECT: Shape<RawJson> = new RawJsonShape("an object", true, "verbatim");

/** The written form of a JSON text of any shape. */
export function canonicalRawJson(source: Uint8Array | string): string {
  const reader = new JsonReader(source);
  return withWriter(
    0,
    (out) => {
      copyValue(reader, out);
      reader.finish();
    },
    (out) => out.toString(),
  );
}

function copyValue(reader: JsonReader, out: JsonWriter): void {
  const code = reader.peek();
  if (code === QUOTE) {
    reader.scanValidString();
    copyString(reader, out);
  } else if (code === OPEN_OBJECT) {
    copyObject(reader, out);
  } else if (code === OPEN_LIST) {
    copyList(reader, out);
  } else if (code === MINUS || isDigit(code)) {
    reader.scanNumber();
    const text = reader.isCanonicalRawJson ? reader.tokenText() : canonicalNumber(reader.tokenText());
    if (text === undefined) throw reader.error("a number out of range", reader.tokenStart);
    out.writeAscii(text);
  } else if (code === 0x6e) {
    reader.readWord("null");
    out.writeAscii("null");
  } else if (code === 0x74 || code === 0x66) {
    out.writeAscii(reader.readBoolean() ? "true" : "false");
  } else {
    throw reader.error("expected a value");
  }
}

/** The token, which has been checked: without escapes its bytes are what would be written. */
function copyString(reader: JsonReader, out: JsonWriter): void {
  if (!reader.tokenIsPlain()) out.writeString(reader.tokenText());
  else out.writeRaw(reader.bytes, reader.tokenStart - 1, reader.tokenEnd + 1);
}

function copyList(reader: JsonReader, out: JsonWriter): void {
  reader.openList();
  out.writeByte(OPEN_LIST);
  let index = 0;
  try {
    for (; reader.nextElement(index === 0); index++) {
      if (index > 0) out.writeByte(COMMA);
      copyValue(reader, out);
    }
  } catch (error) {
    throw inside(error, index);
  }
  out.writeByte(CLOSE_LIST);
}

function copyObject(reader: JsonReader, out: JsonWriter): void {
  reader.openObject();
  out.writeByte(OPEN_OBJECT);
  const names: string[] = [];
  const starts: number[] = [];
  let isSorted = true;
  let name = "";
  try {
    while (reader.nextMember(names.length === 0)) {
      const previous = name;
      name = reader.tokenText();
      rejectReservedName(reader);
      if (names.length > 0) {
        if (isSorted && compareByBytes(previous, name) >= 0) isSorted = false;
        out.writeByte(COMMA);
      }
      names.push(name);
      starts.push(out.length);
      copyString(reader, out);
      out.writeByte(COLON);
      copyValue(reader, out);
    }
  } catch (error) {
    throw inside(error, name);
  }
  if (!isSorted) sortMembers(out, names, starts);
  out.writeByte(CLOSE_OBJECT);
}

/** Puts members that were written in another order into theirs, and drops all but the last of one name. */
function sortMembers(out: JsonWriter, names: readonly string[], starts: readonly number[]): void {
  const origin = starts[0] ?? 0;
  const end = out.length;
  const last = new Map<string, number>();
  for (let index = 0; index < names.length; index++) last.set(names[index] ?? "", index);
  const written = out.cutFrom(origin);
  let isFirst = true;
  for (const name of sortedByBytes([...last.keys()])) {
    const index = last.get(name) ?? 0;
    if (!isFirst) out.writeByte(COMMA);
    isFirst = false;
    const next = starts[index + 1];
    out.writeRaw(written, (starts[index] ?? origin) - origin, (next === undefined ? end : next - 1) - origin);
  }
}

/** Where surrogates come last anyhow, the runtime's own order of UTF-16 units is that of the bytes, and much faster. */
function sortedByBytes(names: string[]): string[] {
  return names.some((name) => /[\ud800-\uffff]/.test(name)) ? names.sort(compareByBytes) : names.sort();
}

function minified(text: Buffer): Buffer {
  const kept = Buffer.allocUnsafe(text.length);
  let length = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text[at] ?? 0;
    if (code === QUOTE) isInString = !isInString;
    if (!isInString && code <= 0x20) continue;
    kept[length++] = code;
    // The character after a backslash never ends the string.
    if (code === 0x5c) kept[length++] = text[++at] ?? 0;
  }
  return kept.subarray(0, length);
}
