import { BACKSLASH, QUOTE, ZERO } from "./ascii.js";

/** The letter after the backslash for the control characters that have one: \\b, \\t, \\n, \\f and \\r. */
const SHORT_ESCAPES = new Map([
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
]);
const SHORT_LETTERS: ReadonlySet<number> = new Set([BACKSLASH, QUOTE, ...SHORT_ESCAPES.values()]);
const LOWER_HEX = "0123456789abcdef";
const LETTER_U = 0x75;

/** Writes the escape of a control character; gives the place after it. */
export function writeControl(bytes: Uint8Array, start: number, unit: number): number {
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

/** Whether all escapes of a string, known to be sound, are those that would be written. */
export function areEscapesWritten(bytes: Uint8Array, start: number, end: number): boolean {
  const expected = new Uint8Array(6);
  for (let at = start; at < end; at++) {
    if (bytes[at] !== BACKSLASH) continue;
    const letter = bytes[++at] ?? 0;
    if (letter !== LETTER_U) {
      if (!SHORT_LETTERS.has(letter)) return false;
      continue;
    }
    const unit = Number(`0x${String.fromCharCode(...bytes.subarray(at + 1, at + 5))}`);
    if (unit >= 0x20 || SHORT_ESCAPES.has(unit)) return false;
    writeControl(expected, 0, unit);
    for (let i = 1; i < 6; i++) if (bytes[at - 1 + i] !== expected[i]) return false;
    at += 4;
  }
  return true;
}
