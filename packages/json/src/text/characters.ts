/** The bytes that have a meaning in JSON. */
export const TAB = 0x09;
export const LINE_FEED = 0x0a;
export const CARRIAGE_RETURN = 0x0d;
export const SPACE = 0x20;
export const QUOTE = 0x22;
export const PLUS = 0x2b;
export const COMMA = 0x2c;
export const MINUS = 0x2d;
export const POINT = 0x2e;
export const SLASH = 0x2f;
export const ZERO = 0x30;
export const NINE = 0x39;
export const COLON = 0x3a;
export const UPPER_E = 0x45;
export const OPEN_LIST = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_LIST = 0x5d;
export const LOWER_E = 0x65;
export const LOWER_F = 0x66;
export const LOWER_N = 0x6e;
export const LOWER_T = 0x74;
export const LOWER_U = 0x75;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

const LOWER_HEX = "0123456789abcdef";

export function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/** Returns the value of a hexadecimal digit, upper or lower case, or -1. */
export function hexValue(code: number): number {
  if (isDigit(code)) return code - ZERO;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** The control characters with a short escape, and the letter after the backslash: \b, \t, \n, \f and \r. */
const SHORT_ESCAPES = new Map([
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
]);

/** Writes the canonical escape of a control character at `start`. Returns the position after it. */
export function writeControlEscape(bytes: Uint8Array, start: number, unit: number): number {
  let at = start;
  bytes[at++] = BACKSLASH;
  const letter = SHORT_ESCAPES.get(unit);
  if (letter !== undefined) {
    bytes[at++] = letter;
    return at;
  }
  bytes[at++] = LOWER_U;
  bytes[at++] = ZERO;
  bytes[at++] = ZERO;
  bytes[at++] = LOWER_HEX.charCodeAt(unit >> 4);
  bytes[at++] = LOWER_HEX.charCodeAt(unit & 15);
  return at;
}

/**
 * Whether canonical JSON writes this UTF-16 unit as a `\u` escape that ends in `lastDigit`. This holds only for control
 * characters without a short escape, in lower-case hexadecimal.
 */
export function isCanonicalUnicodeEscape(unit: number, lastDigit: number): boolean {
  return unit < 0x20 && !SHORT_ESCAPES.has(unit) && LOWER_HEX.charCodeAt(unit & 15) === lastDigit;
}

export function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** Whether two UTF-16 units are one character: a high surrogate followed by a low one. */
export function isSurrogatePair(unit: number, next: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff;
}

/** Whether a text contains a surrogate outside a pair. UTF-8 cannot express such a text. */
export function hasLoneSurrogate(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (!isSurrogate(unit)) continue;
    if (!isSurrogatePair(unit, text.charCodeAt(i + 1))) return true;
    i++;
  }
  return false;
}

/** Compares two texts by their UTF-8 bytes. UTF-16 order differs from it only for characters above U+D7FF. */
export function compareByBytes(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const a = left.charCodeAt(i);
    const b = right.charCodeAt(i);
    if (a !== b) return rankOf(a) - rankOf(b);
  }
  return left.length - right.length;
}

/** A surrogate pair is one character above U+FFFF, so its units rank above all others. */
function rankOf(unit: number): number {
  return isSurrogate(unit) ? unit + 0x10000 : unit;
}
