import { randomBytes } from "node:crypto";

const POOL_BYTES = 1 << 20;
const pool = randomBytes(POOL_BYTES);

/** Bytes that differ at every place, so that a stretch from the wrong place is seen. The same ones for the same seed. */
export function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  // No two rounds begin at the same place.
  for (let at = 0, start = (seed * 7919) % POOL_BYTES; at < length; start = (start + 104_729) % POOL_BYTES) {
    at += pool.copy(bytes, at, start, Math.min(POOL_BYTES, start + 65_537));
  }
  return bytes;
}
