import { randomBytes } from "node:crypto";

const POOL_BYTES = 1 << 20;
const pool = randomBytes(POOL_BYTES);

/**
 * Returns bytes that differ at every position, so that a range from the wrong position is noticed. The same seed returns
 * the same bytes.
 */
export function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  // No two rounds begin at the same position of the pool.
  for (let at = 0, start = (seed * 7919) % POOL_BYTES; at < length; start = (start + 104_729) % POOL_BYTES) {
    at += pool.copy(bytes, at, start, Math.min(POOL_BYTES, start + 65_537));
  }
  return bytes;
}
