import { MINUS, POINT, ZERO, isDigit } from "./ascii.js";
import type { JsonReader } from "./reader.js";

const U64_MAX = 18446744073709551615n;
const I64_MIN = -9223372036854775808n;
const POWERS_OF_TEN = Array.from({ length: 309 }, (_, exponent) => Number(`1e${exponent}`));

/** The largest number of digits that always fits a double exactly. */
const EXACT_DIGITS = 15;

/**
 * The written form of a number in free JSON (sections 7.4 and 15.1): integers from -2^63 to 2^64-1 stay as they are, all
 * others become doubles. Undefined when the number overflows.
 */
export function canonicalNumber(text: string): string | undefined {
  if (isPlainInteger(text)) return text;
  const value = readFloat64(text);
  return value === undefined ? undefined : formatFloat64(value);
}

/** Whether free JSON may hold the number that is the reader's token. */
export function isNumberInRange(reader: JsonReader): boolean {
  const isShort = reader.tokenEnd - reader.tokenStart <= 300;
  return (isShort && !hasExponent(reader)) || readFloat64(reader.tokenText()) !== undefined;
}

function hasExponent(reader: JsonReader): boolean {
  for (let at = reader.tokenStart; at < reader.tokenEnd; at++) {
    const code = reader.bytes[at];
    if (code === 0x65 || code === 0x45) return true;
  }
  return false;
}

/** An integer text that free JSON keeps. `-0` is none: it becomes a float. */
function isPlainInteger(text: string): boolean {
  const isNegative = text.charCodeAt(0) === MINUS;
  for (let i = isNegative ? 1 : 0; i < text.length; i++) if (!isDigit(text.charCodeAt(i))) return false;
  if (text.length <= 18) return text !== "-0";
  if (text.length > 20) return false;
  const value = BigInt(text);
  return value >= I64_MIN && value <= U64_MAX;
}

/**
 * Reads a decimal as the reference does, which is not always the nearest double: digits are collected into 64 bits,
 * those that do not fit are dropped, and the result is scaled by one multiplication or division.
 * Undefined when it overflows.
 */
export function readFloat64(text: string): number | undefined {
  const isNegative = text.charCodeAt(0) === MINUS;
  let at = isNegative ? 1 : 0;
  let significand = 0n;
  let exponent = 0;
  let isFull = false;
  let isFraction = false;
  let exact = 0;
  let digits = 0;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === POINT) {
      isFraction = true;
      // A digit dropped before the point does not stop digits after it from being looked at again.
      isFull = false;
      continue;
    }
    if (!isDigit(code)) break;
    if (digits < EXACT_DIGITS) {
      exact = exact * 10 + (code - ZERO);
      if (exact !== 0) digits++;
      if (isFraction) exponent--;
      continue;
    }
    if (digits === EXACT_DIGITS) {
      significand = BigInt(exact);
      digits++;
    }
    if (!isFull) {
      const grown = significand * 10n + BigInt(code - ZERO);
      isFull = grown > U64_MAX;
      if (!isFull) significand = grown;
    }
    if (isFull && !isFraction) exponent++;
    if (!isFull && isFraction) exponent--;
  }
  const mantissa = digits <= EXACT_DIGITS ? exact : Number(significand);
  if (at < text.length) {
    // A longer exponent has the same effect as the largest one that fits, and a double is exact enough to add it.
    const written = Number(text.slice(at + 1));
    if (Math.abs(written) > 2147483647) {
      if (written > 0 && mantissa !== 0) return undefined;
      return isNegative ? -0 : 0;
    }
    exponent = Math.max(-2147483648, Math.min(2147483647, exponent + written));
  }
  const value = scale(mantissa, exponent);
  return value === undefined ? undefined : isNegative ? -value : value;
}

function scale(mantissa: number, exponent: number): number | undefined {
  let value = mantissa;
  let rest = exponent;
  for (;;) {
    const power = POWERS_OF_TEN[Math.abs(rest)];
    if (power !== undefined) {
      value = rest >= 0 ? value * power : value / power;
      return value === Infinity ? undefined : value;
    }
    if (value === 0) return value;
    if (rest >= 0) return undefined;
    value /= 1e308;
    rest += 308;
  }
}

/** Plain for decimal exponents -5 to 15, always with a fraction digit; otherwise scientific with a signed exponent. */
export function formatFloat64(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (size < 1e-5 || size >= 1e16) return value.toExponential();
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** A 32-bit float field (section 15.3). An overflow gives an infinity, which is written as null. */
export function readFloat32(text: string): number | undefined {
  if (!isPlainInteger(text)) {
    const value = readFloat64(text);
    return value === undefined ? undefined : Math.fround(value);
  }
  const value = BigInt(text);
  const size = value < 0n ? -value : value;
  if (size <= 0xfffffffffffffn) return Math.fround(Number(value));
  // Rounded once, from the integer: the dropped bits live on in the last one kept.
  const kept = Number((size >> 12n) | ((size & 0xfffn) === 0n ? 0n : 1n));
  return (value < 0n ? -1 : 1) * Math.fround(kept) * 4096;
}

/** Plain for decimal exponents -6 to 12. */
export function formatFloat32(value: number): string {
  if (!Number.isFinite(value)) return "null";
  if (value === 0) return formatFloat64(value);
  const shortest = shortestFloat32(value);
  const exponent = Number(shortest.slice(shortest.indexOf("e") + 1));
  if (exponent < -6 || exponent > 12) return shortest;
  const plain = Number(shortest);
  if (Number.isInteger(plain)) return `${plain}.0`;
  const digits = shortest.slice(0, shortest.indexOf("e")).replace(/^-|\./g, "").length;
  return plain.toFixed(digits - 1 - exponent);
}

/** The fewest digits that read back as the same 32-bit float, in scientific form. */
function shortestFloat32(value: number): string {
  for (let digits = 0; digits < 9; digits++) {
    const text = value.toExponential(digits);
    if (Math.fround(Number(text)) === value) return text;
  }
  return value.toExponential();
}
