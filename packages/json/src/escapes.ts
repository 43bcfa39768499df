import { BACKSLASH, ZERO } from "./ascii.js";

/** The letter after the backslash for the control characters that have one: \b, \t, \n, \f and \r. */
const SHORT_ESCAPES = new Map([
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
]);
const LOWER_HEX = "0123456789abcdef";
const LETTER_U = 0x75;

/** Writes the escape of a control character; gives the place after it. */
export function writeControlEscape(bytes: Uint8Array, start: number, unit: number): number {
  let at = start;
  bytes[at++] = BACKSLASH;
  const letter = SHORT_ESCAPES.get(unit);
  if (letter !== undefined) {
    bytes[at++] = letter;
    return at;
  }
  bytes[at++] = LETTER_U;
  bytes[at++] = ZERO;
  bytes[at++] = ZERO;
  bytes[at++] = LOWER_HEX.charCodeAt(unit >> 4);
  bytes[at++] = LOWER_HEX.charCodeAt(unit & 15);
  return at;
}

/** Whether a character is written as a `\u` escape with this last digit: a control character without a shorter escape. */
export function isCanonicalUnicodeEscape(unit: number, lastDigit: number): boolean {
  return unit < 0x20 && !SHORT_ESCAPES.has(unit) && LOWER_HEX.charCodeAt(unit & 15) === lastDigit;
}
