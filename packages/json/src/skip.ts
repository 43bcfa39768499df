import { CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, MINUS, OPEN_LIST, OPEN_OBJECT, QUOTE, isDigit } from "./ascii.js";
import { isNumberInRange } from "./number.js";
import type { JsonReader } from "./reader.js";

/**
 * Steps over one value. In a member that the reference passes over without keeping it (`reader.buffered` is 0) only
 * the grammar counts: any depth, any number, broken UTF-8 and half surrogates go unnoticed (section 15.5).
 */
export function skipValue(reader: JsonReader): void {
  const isStrict = reader.bufferingDepth > 0;
  // Not recursive, because nothing bounds the depth of an ignored member.
  const open: number[] = [];
  for (;;) {
    const code = reader.peek();
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      const closing = code === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_LIST;
      if (!isStrict) reader.position++;
      else if (code === OPEN_OBJECT) reader.openObject();
      else reader.openList();
      open.push(closing);
      if (reader.peek() !== closing) {
        if (closing === CLOSE_OBJECT) stepOverName(reader);
        continue;
      }
    } else {
      stepOverScalar(reader, code, isStrict);
    }
    if (!stepToNextValue(reader, open, isStrict)) return;
  }
}

/** After a value: closes what ends here and steps to the next value; false when the outermost value is complete. */
function stepToNextValue(reader: JsonReader, open: number[], isStrict: boolean): boolean {
  for (;;) {
    const closing = open[open.length - 1];
    if (closing === undefined) return false;
    const code = reader.peek();
    if (code === closing) {
      reader.position++;
      if (isStrict) reader.depth--;
      open.pop();
      continue;
    }
    if (code !== COMMA) throw reader.error("expected a comma or the end of a container");
    reader.position++;
    if (closing === CLOSE_OBJECT) stepOverName(reader);
    return true;
  }
}

function stepOverName(reader: JsonReader): void {
  if (reader.peek() !== QUOTE) throw reader.error("expected a member name");
  reader.scanString();
  if (reader.bufferingDepth > 0) reader.checkToken();
  if (reader.peek() !== COLON) throw reader.error("expected a colon");
  reader.position++;
}

function stepOverScalar(reader: JsonReader, code: number, isStrict: boolean): void {
  if (code === QUOTE) {
    reader.scanString();
    if (isStrict) reader.checkToken();
  } else if (code === MINUS || isDigit(code)) {
    reader.scanNumber();
    if (isStrict && !isNumberInRange(reader)) throw reader.error("a number out of range", reader.tokenStart);
  } else if (code === 0x6e) {
    reader.readWord("null");
  } else {
    if (code !== 0x74 && code !== 0x66) throw reader.error("expected a value");
    reader.readBoolean();
  }
}
