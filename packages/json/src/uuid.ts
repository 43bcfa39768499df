import { Buffer } from "node:buffer";

import { MINUS, hexValue } from "./ascii.js";

const HYPHENATED = 36;
const SIMPLE = 32;

/** Whether a text is a UUID in the one form that is written: lower case, hyphenated. */
export function isCanonicalUuid(text: string): boolean {
  return text.length === HYPHENATED && isHyphenated(text, 0, true);
}

/** 36 when the bytes from `at` on are a UUID in its written form, otherwise 0. */
export function canonicalUuidLength(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < HYPHENATED; i++) {
    const code = bytes[at + i] ?? 0;
    if (isHyphenPlace(i) ? code !== MINUS : !isLowerHex(code)) return 0;
  }
  return HYPHENATED;
}

/**
 * Reads the spellings that the reference accepts (sections 1 and 15.8): hyphenated in any case, the same in braces or after
 * a lower-case `urn:uuid:`, or 32 digits. Undefined when it is none of them.
 */
export function canonicalUuid(text: string): string | undefined {
  if (text.length === HYPHENATED) {
    if (isHyphenated(text, 0, true)) return text;
    return isHyphenated(text, 0, false) ? text.toLowerCase() : undefined;
  }
  if (text.length === SIMPLE) {
    return /^[0-9a-f]{32}$/i.test(text) ? withHyphens(text.toLowerCase()) : undefined;
  }
  const start = text.length === HYPHENATED + 2 && text.startsWith("{") && text.endsWith("}") ? 1 : 9;
  if (start === 9 && !(text.length === HYPHENATED + 9 && text.startsWith("urn:uuid:"))) return undefined;
  return isHyphenated(text, start, false) ? text.slice(start, start + HYPHENATED).toLowerCase() : undefined;
}

/** The 16 bytes of a UUID in any accepted spelling; a `RangeError` for another text. */
export function uuidToBytes(text: string): Uint8Array {
  const canonical = canonicalUuid(text);
  if (canonical === undefined) throw new RangeError("not a UUID");
  const bytes = new Uint8Array(16);
  let at = 0;
  for (let i = 0; i < HYPHENATED; i += 2) {
    if (isHyphenPlace(i)) i++;
    bytes[at++] = hexValue(canonical.charCodeAt(i)) * 16 + hexValue(canonical.charCodeAt(i + 1));
  }
  return bytes;
}

export function uuidFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError("a UUID is 16 bytes");
  return withHyphens(Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex"));
}

function isHyphenated(text: string, start: number, isLowerOnly: boolean): boolean {
  for (let i = 0; i < HYPHENATED; i++) {
    const code = text.charCodeAt(start + i);
    if (isHyphenPlace(i)) {
      if (code !== MINUS) return false;
    } else if (!isLowerHex(code) && (isLowerOnly || hexValue(code) < 0)) {
      return false;
    }
  }
  return true;
}

function isLowerHex(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66);
}

function isHyphenPlace(index: number): boolean {
  return index === 8 || index === 13 || index === 18 || index === 23;
}

function withHyphens(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
