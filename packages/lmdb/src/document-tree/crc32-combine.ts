/*
 * The CRC-32 of two stretches one after the other, from the CRCs of each: appending n bytes multiplies a CRC, taken as a
 * polynomial over GF(2), by x^(8n). The lowest power is in the highest bit, as everywhere in zlib.
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

/** x^(8 * 2^k), for every bit of a length that a document can have. */
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

/** x^(8 * length) */
function powerOf(length: number): number {
  let power = ONE;
  for (let bit = 0, rest = length; rest > 0; bit += 1, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(power, SHIFTS[bit] ?? 0);
  }
  return power;
}

/** Of the last stretch: most leaves of a document are full, and have one length. */
let [lastLength, lastPower] = [0, ONE];

/** `length` is that of the second stretch, in bytes. */
export function combineCrc32(first: number, second: number, length: number): number {
  if (length !== lastLength) [lastLength, lastPower] = [length, powerOf(length)];
  return (multiply(lastPower, first) ^ second) >>> 0;
}
