import { Buffer } from "node:buffer";

import {
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  LOWER_F,
  LOWER_N,
  LOWER_T,
  MINUS,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  compareByBytes,
  isDigit,
} from "./characters.js";
import { inside } from "./json-error.js";
import { canonicalNumber } from "./numbers.js";
import { JsonReader } from "./reader.js";
import { type JsonWriter, withWriter } from "./writer.js";

// Canonical form of raw JSON, a value of any kind (contract 9.8): no white space, members sorted by the bytes of their names,
// the last of two members with the same name kept, numbers and strings in canonical form.

const COMMA_BYTES = Buffer.from(",");
const COLON_BYTES = Buffer.from(":");
const NULL_BYTES = Buffer.from("null");
const TRUE_BYTES = Buffer.from("true");
const FALSE_BYTES = Buffer.from("false");

/** The reference's JSON library may interpret a member of this name as JSON inside a string. No writer creates it (contract 9.10). */
const RAW_VALUE_MARKER = Buffer.from("$serde_json::private::RawValue");

/** An integer of at most this many digits is canonical without a further check. */
const SHORT_INTEGER = 18;

/** Returns the canonical form of a JSON text of any kind. Throws a `JsonError` when the text is not one JSON value. */
export function canonicalRawJson(source: Uint8Array | string): string {
  const reader = new JsonReader(source);
  return withWriter(
    0,
    (out) => {
      copyCanonical(reader, out);
      reader.finish();
    },
    (out) => out.toString(),
  );
}

/** Reads a value of any kind and writes its canonical form. */
export function copyCanonical(reader: JsonReader, out: JsonWriter): void {
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
    if (text === undefined) throw reader.error("expected a number that fits a 64-bit float", reader.tokenStart);
    out.writeAscii(text);
  } else if (code === LOWER_N) {
    reader.readWord("null");
    out.writeAscii("null");
  } else if (code === LOWER_T || code === LOWER_F) {
    out.writeAscii(reader.readBoolean() ? "true" : "false");
  } else {
    throw reader.error("expected a value");
  }
}

/** Writes the string token, which has been checked. Without escapes its bytes are canonical already. */
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
      copyCanonical(reader, out);
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
      copyCanonical(reader, out);
    }
  } catch (error) {
    throw inside(error, name);
  }
  if (!isSorted) sortMembers(out, names, starts);
  out.writeByte(CLOSE_OBJECT);
}

/** Sorts the members of an object that were written in another order, and keeps the last of those with the same name. */
function sortMembers(out: JsonWriter, names: readonly string[], starts: readonly number[]): void {
  const origin = starts[0] ?? 0;
  const end = out.length;
  const last = new Map<string, number>();
  for (let index = 0; index < names.length; index++) last.set(names[index] ?? "", index);
  const members = out.cutFrom(origin);
  let isFirst = true;
  for (const name of sortedByBytes([...last.keys()])) {
    const index = last.get(name) ?? 0;
    if (!isFirst) out.writeByte(COMMA);
    isFirst = false;
    const next = starts[index + 1];
    out.writeRaw(members, (starts[index] ?? origin) - origin, (next === undefined ? end : next - 1) - origin);
  }
}

/** Sorts by UTF-8 bytes. Without characters above U+D7FF the native UTF-16 order is the same, and much faster. */
function sortedByBytes(names: string[]): string[] {
  return names.some((name) => /[\ud800-\uffff]/.test(name)) ? names.sort(compareByBytes) : names.sort();
}

/**
 * Skips a value of any kind that follows immediately in canonical form. Returns false when it is in another form; the cursor
 * is then at any position.
 */
export function skipCanonicalRawJson(reader: JsonReader): boolean {
  const start = reader.position;
  const code = reader.bytes[start] ?? 0;
  if (code === QUOTE) return reader.skipCanonicalString();
  if (code === OPEN_OBJECT) return skipCanonicalObject(reader);
  if (code === OPEN_LIST) return skipCanonicalList(reader);
  if (code === MINUS || isDigit(code)) {
    if (reader.scanNumber() === "digits" && reader.tokenEnd - start <= SHORT_INTEGER) return true;
    const text = reader.tokenText();
    return reader.isCanonicalRawJson || canonicalNumber(text) === text;
  }
  return reader.skipLiteral(NULL_BYTES) || reader.skipLiteral(TRUE_BYTES) || reader.skipLiteral(FALSE_BYTES);
}

function skipCanonicalList(reader: JsonReader): boolean {
  reader.openList();
  if (reader.closeCanonical(CLOSE_LIST)) return true;
  do {
    const gap = reader.skipGap();
    if (gap ? !gap.isCanonicalRawJson : !skipCanonicalRawJson(reader)) return false;
  } while (reader.skipLiteral(COMMA_BYTES));
  return reader.closeCanonical(CLOSE_LIST);
}

function skipCanonicalObject(reader: JsonReader): boolean {
  reader.openObject();
  if (reader.closeCanonical(CLOSE_OBJECT)) return true;
  let start = 0;
  let end = 0;
  /** The text of a name with escapes: the order of its bytes is not the order of the names. */
  let escaped: string | undefined;
  do {
    const previous = start;
    const previousEnd = end;
    const previousEscaped = escaped;
    if (!reader.skipCanonicalString()) return false;
    start = reader.tokenStart;
    end = reader.tokenEnd;
    escaped = reader.tokenIsPlain() ? undefined : reader.tokenText();
    rejectReservedName(reader);
    if (previous > 0) {
      const order =
        escaped === undefined && previousEscaped === undefined
          ? reader.bytes.compare(reader.bytes, previous, previousEnd, start, end)
          : compareByBytes(escaped ?? reader.tokenText(), previousEscaped ?? reader.textBetween(previous, previousEnd));
      if (order <= 0) return false;
    }
    if (!reader.skipLiteral(COLON_BYTES) || !skipCanonicalRawJson(reader)) return false;
  } while (reader.skipLiteral(COMMA_BYTES));
  return reader.closeCanonical(CLOSE_OBJECT);
}

/** Throws when the member name, which is the token, has a special meaning for the reference. */
function rejectReservedName(reader: JsonReader): void {
  if (!reader.tokenIs(RAW_VALUE_MARKER)) return;
  throw reader.error("expected a member name that is not reserved", reader.tokenStart);
}
