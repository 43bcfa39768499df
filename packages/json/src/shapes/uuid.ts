import { Buffer } from "node:buffer";

import { MINUS, hexValue } from "../text/characters.js";
import type { Shape } from "./shape.js";
import { spelledString } from "./scalar.js";

/** A UUID in its canonical form: lower case, with hyphens. Every version and the nil UUID are accepted (contract 1.3). */
export type Uuid = string;

const HYPHENATED = 36;
const SIMPLE = 32;
const URN_PREFIX = "urn:uuid:";

export const UUID: Shape<Uuid> = spelledString("a UUID", canonicalUuidLength, canonicalUuid);

/**
 * Returns the canonical form of a UUID in any spelling that the reference accepts (contract 1.3): with hyphens in any
 * case, the same in braces or after a lower-case `urn:uuid:`, or 32 digits. Undefined for any other text.
 */
export function canonicalUuid(text: string): Uuid | undefined {
  if (text.length === HYPHENATED) {
    if (isHyphenated(text, 0, true)) return text;
    return isHyphenated(text, 0, false) ? text.toLowerCase() : undefined;
  }
  if (text.length === SIMPLE) {
    return /^[0-9a-f]{32}$/i.test(text) ? withHyphens(text.toLowerCase()) : undefined;
  }
  const isInBraces = text.length === HYPHENATED + 2 && text.startsWith("{") && text.endsWith("}");
  const isUrn = text.length === HYPHENATED + URN_PREFIX.length && text.startsWith(URN_PREFIX);
  if (!isInBraces && !isUrn) return undefined;
  const start = isInBraces ? 1 : URN_PREFIX.length;
  return isHyphenated(text, start, false) ? text.slice(start, start + HYPHENATED).toLowerCase() : undefined;
}

/** Returns the 16 bytes of a UUID in any accepted spelling. Throws a `RangeError` for any other text. */
export function uuidToBytes(text: string): Uint8Array {
  const canonical = canonicalUuid(text);
  if (canonical === undefined) throw new RangeError(`expected a UUID, got ${JSON.stringify(text)}`);
  const bytes = new Uint8Array(16);
  let at = 0;
  for (let i = 0; i < HYPHENATED; i += 2) {
    if (isHyphenPlace(i)) i++;
    bytes[at++] = hexValue(canonical.charCodeAt(i)) * 16 + hexValue(canonical.charCodeAt(i + 1));
  }
  return bytes;
}

/** Returns the canonical form of a UUID. Throws a `RangeError` unless there are 16 bytes. */
export function uuidFromBytes(bytes: Uint8Array): Uuid {
  if (bytes.length !== 16) throw new RangeError(`expected the 16 bytes of a UUID, got ${bytes.length}`);
  return withHyphens(Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex"));
}

/** Returns 36 when the bytes from `at` on are a canonical UUID, otherwise 0. */
function canonicalUuidLength(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < HYPHENATED; i++) {
    const code = bytes[at + i] ?? 0;
    if (isHyphenPlace(i) ? code !== MINUS : !isLowerHex(code)) return 0;
  }
  return HYPHENATED;
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
