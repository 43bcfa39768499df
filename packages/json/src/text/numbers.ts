import type { Buffer } from "node:buffer";

import { LOWER_E, MINUS, POINT, UPPER_E, ZERO, isDigit } from "./characters.js";

const U64_MAX = 18446744073709551615n;
const I64_MIN = -9223372036854775808n;
const I32_MIN = -2147483648;
const I32_MAX = 2147483647;
const POWERS_OF_TEN = Array.from({ length: 309 }, (_, exponent) => Number(`1e${exponent}`));

/** The largest number of digits that a double always represents exactly. */
const EXACT_DIGITS = 15;

/** A number of at most this many characters and without an exponent always fits a double. */
const SAFE_LENGTH = 300;

/**
 * Returns the canonical form of a number in raw JSON (contract 9.6). Integers from -2^63 to 2^64-1 stay unchanged,
 * all other numbers become doubles. Undefined when the number is too large for a double.
 */
export function canonicalNumber(text: string): string | undefined {
  if (isPlainInteger(text)) return text;
  const value = readFloat64(text);
  return value === undefined ? undefined : formatFloat64(value);
}

/** Whether raw JSON can hold the number whose text is `bytes` from `start` to `end`. */
export function isNumberInRange(bytes: Buffer, start: number, end: number): boolean {
  const isShort = end - start <= SAFE_LENGTH;
  return (
    (isShort && !hasExponent(bytes, start, end)) || readFloat64(bytes.toString("latin1", start, end)) !== undefined
  );
}

function hasExponent(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const code = bytes[at];
    if (code === LOWER_E || code === UPPER_E) return true;
  }
  return false;
}

/** Whether a number is an integer that raw JSON keeps unchanged. `-0` is not: it becomes a double. */
function isPlainInteger(text: string): boolean {
  const isNegative = text.charCodeAt(0) === MINUS;
  for (let i = isNegative ? 1 : 0; i < text.length; i++) if (!isDigit(text.charCodeAt(i))) return false;
  if (text.length <= 18) return text !== "-0";
  if (text.length > 20) return false;
  const value = BigInt(text);
  return value >= I64_MIN && value <= U64_MAX;
}

/**
 * Reads a decimal number as the reference does, which is not always the nearest double. The reference collects the
 * digits in 64 bits, drops the digits that do not fit, and scales the result by one multiplication or division.
 * Returns undefined when the result is too large for a double.
 */
export function readFloat64(text: string): number | undefined {
  const isNegative = text.charCodeAt(0) === MINUS;
  let at = isNegative ? 1 : 0;
  let significand = 0n;
  let exponent = 0;
  let isFull = false;
  let isFraction = false;
  // The first digits are collected in a double, which is faster than a bigint.
  let exact = 0;
  let digits = 0;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === POINT) {
      isFraction = true;
      // The reference tests each digit after the point again, even when a digit before the point did not fit.
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
    // The reference keeps the exponent in 32 bits: a larger one results in an overflow or in zero. Number() is exact for all others.
    const written = Number(text.slice(at + 1));
    if (Math.abs(written) > I32_MAX) {
      if (written > 0 && mantissa !== 0) return undefined;
      return isNegative ? -0 : 0;
    }
    exponent = Math.max(I32_MIN, Math.min(I32_MAX, exponent + written));
  }
  const value = scale(mantissa, exponent);
  return value === undefined ? undefined : isNegative ? -value : value;
}

/** Multiplies by a power of ten in the reference's steps, which determine the rounding. Undefined on overflow. */
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

/**
 * Returns the canonical form of a double: plain for decimal exponents from -5 to 15, always with a digit after the point;
 * otherwise scientific with a sign in the exponent (contract 9.6).
 */
export function formatFloat64(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  if (size < 1e-5 || size >= 1e16) return value.toExponential();
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** Reads a 32-bit float (contract 9.7). A number too large for 32 bits becomes an infinity. Undefined for one too large for 64 bits. */
export function readFloat32(text: string): number | undefined {
  if (!isPlainInteger(text)) {
    const value = readFloat64(text);
    return value === undefined ? undefined : Math.fround(value);
  }
  const value = BigInt(text);
  const size = value < 0n ? -value : value;
  if (size <= 0xfffffffffffffn) return Math.fround(Number(value));
  // The reference rounds once, from the integer. Setting the last kept bit when a dropped bit is set avoids rounding twice.
  const kept = Number((size >> 12n) | ((size & 0xfffn) === 0n ? 0n : 1n));
  return (value < 0n ? -1 : 1) * Math.fround(kept) * 4096;
}

/** Returns the canonical form of a 32-bit float: plain for decimal exponents from -6 to 12; infinities and NaN are `null`. */
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

/** Returns the fewest digits that read back as the same 32-bit float, in scientific form. */
function shortestFloat32(value: number): string {
  for (let digits = 0; digits < 9; digits++) {
    const text = value.toExponential(digits);
    if (Math.fround(Number(text)) === value) return text;
  }
  return value.toExponential();
}
