import { Buffer } from "node:buffer";

import { CLOSE_LIST, CLOSE_OBJECT, MINUS, OPEN_LIST, OPEN_OBJECT, QUOTE, isDigit } from "./ascii.js";
import { compareByBytes } from "./byte-order.js";
import { canonicalNumber } from "./number.js";
import type { JsonReader } from "./reader.js";

const COMMA_BYTES = Buffer.from(",");
const COLON_BYTES = Buffer.from(":");
const NULL_BYTES = Buffer.from("null");
const TRUE_BYTES = Buffer.from("true");
const FALSE_BYTES = Buffer.from("false");

/** The reference's library may take a member of this name for JSON in a string; no writer makes it (section 14.19). */
const RAW_VALUE_MARKER = Buffer.from("$serde_json::private::RawValue");

/** Steps over a value of any shape in its written form; false when it is in another. */
export function skipCanonicalRawJson(reader: JsonReader): boolean {
  const start = reader.position;
  const code = reader.bytes[start] ?? 0;
  if (code === QUOTE) return reader.skipCanonicalString();
  if (code === OPEN_OBJECT) return skipCanonicalObject(reader);
  if (code === OPEN_LIST) return skipCanonicalList(reader);
  if (code === MINUS || isDigit(code)) {
    if (reader.scanNumber() === "digits" && reader.tokenEnd - start <= 18) return true;
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
  /** Of a name with escapes, whose bytes are not in the order of the names. */
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

/** Refuses a member name, the token, that has a meaning of its own for the reference. */
export function rejectReservedName(reader: JsonReader): void {
  if (reader.tokenIs(RAW_VALUE_MARKER)) throw reader.error("a marker of embedded JSON", reader.tokenStart);
}
