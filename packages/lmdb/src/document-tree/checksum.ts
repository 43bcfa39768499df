import { crc32 } from "node:zlib";

/** The checksum at the end of a sealed value. */
const SEAL_BYTES = 4;

/** Returns a zeroed buffer for a body of `length` bytes. The caller fills the body and then calls `seal`. */
export const unsealed = (length: number): Buffer => Buffer.alloc(length + SEAL_BYTES);

/**
 * Writes a CRC-32 over the key and the body into the last bytes of `value`, and returns `value`. Because the key is
 * included, `unseal` finds a damaged value, and also an undamaged value that is stored under another key.
 */
export function seal(key: Buffer, value: Buffer): Buffer {
  const end = value.length - SEAL_BYTES;
  value.writeUInt32LE(crc32(value.subarray(0, end), crc32(key)), end);
  return value;
}

/** Returns the body of a sealed value, or undefined when the checksum does not match. */
export function unseal(key: Buffer, value: Buffer): Buffer | undefined {
  const end = value.length - SEAL_BYTES;
  if (end < 0) return undefined;
  const body = value.subarray(0, end);
  return crc32(body, crc32(key)) === value.readUInt32LE(end) ? body : undefined;
}

/*
 * The CRC-32 of two byte ranges in a row can be computed from the CRC-32 of each. A CRC is a polynomial over GF(2), and
 * appending n bytes multiplies it by x^(8n). As everywhere in zlib, the highest bit holds the lowest power.
 */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let rest = a; rest !== 0; rest <<= 1) {
    if (rest & ONE) product ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product;
}

/** The powers x^(8 * 2^k), one for each bit of the longest possible document length. */
const SHIFTS: readonly number[] = (() => {
  const shifts: number[] = [];
  // x^8
  let power = ONE >>> 8;
  for (let bit = 0; bit < 48; bit += 1) {
    shifts.push(power);
    power = multiply(power, power);
  }
  return shifts;
})();

/** Returns x^(8 * length). */
function powerOf(length: number): number {
  let power = ONE;
  for (let bit = 0, rest = length; rest > 0; bit += 1, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(power, SHIFTS[bit] ?? 0);
  }
  return power;
}

/** The result for the most recent length. Most leaves of a document are full, so they all have the same length. */
let [lastLength, lastPower] = [0, ONE];

/** Returns the CRC-32 of two adjacent ranges from the CRC-32 of each. `length` is the size of the second range in bytes. */
export function combineCrc32(first: number, second: number, length: number): number {
  if (length !== lastLength) [lastLength, lastPower] = [length, powerOf(length)];
  return (multiply(lastPower, first) ^ second) >>> 0;
}
