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
export function isNormalised(reader: JsonReader): boolean {
  const start = reader.position;
  const code = reader.bytes[start] ?? 0;
  if (code === QUOTE) return reader.isStringWritten();
  if (code === OPEN_OBJECT) return isObjectNormalised(reader);
  if (code === OPEN_LIST) return isListNormalised(reader);
  if (code === MINUS || isDigit(code)) {
    if (reader.stepOverNumber() === "digits" && reader.tokenEnd - start <= 18) return true;
    const text = reader.tokenText();
    return reader.isNormalised || canonicalNumber(text) === text;
  }
  return reader.readLiteral(NULL_BYTES) || reader.readLiteral(TRUE_BYTES) || reader.readLiteral(FALSE_BYTES);
}

function isListNormalised(reader: JsonReader): boolean {
  reader.openList();
  if (reader.closeWritten(CLOSE_LIST)) return true;
  do {
    const gap = reader.stepOverGap();
    if (gap ? !gap.isNormalised : !isNormalised(reader)) return false;
  } while (reader.readLiteral(COMMA_BYTES));
  return reader.closeWritten(CLOSE_LIST);
}

function isObjectNormalised(reader: JsonReader): boolean {
  reader.openObject();
  if (reader.closeWritten(CLOSE_OBJECT)) return true;
  let start = 0;
  let end = 0;
  /** Of a name with escapes, whose bytes are not in the order of the names. */
  let escaped: string | undefined;
  do {
    const previous = start;
    const previousEnd = end;
    const previousEscaped = escaped;
    if (!reader.isStringWritten()) return false;
    start = reader.tokenStart;
    end = reader.tokenEnd;
    escaped = reader.tokenIsPlain() ? undefined : reader.tokenText();
    refuseMarker(reader);
    if (previous > 0) {
      const order =
        escaped === undefined && previousEscaped === undefined
          ? reader.bytes.compare(reader.bytes, previous, previousEnd, start, end)
          : compareByBytes(escaped ?? reader.tokenText(), previousEscaped ?? reader.textBetween(previous, previousEnd));
      if (order <= 0) return false;
    }
    if (!reader.readLiteral(COLON_BYTES) || !isNormalised(reader)) return false;
  } while (reader.readLiteral(COMMA_BYTES));
  return reader.closeWritten(CLOSE_OBJECT);
}

/** Refuses a member name, the token, that has a meaning of its own for the reference. */
export function refuseMarker(reader: JsonReader): void {
  if (reader.tokenIs(RAW_VALUE_MARKER)) throw reader.error("a marker of embedded JSON", reader.tokenStart);
}
