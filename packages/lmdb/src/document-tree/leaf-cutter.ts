import { LEAF_BYTES, SETTLED_BYTES, filledPages, pagesBytes } from "./node.js";

/**
 * Full leaves first. What is left is one leaf when it is small, because the next change beside it will write it anew;
 * otherwise it fills whole pages, and a small rest follows.
 */
function leafLength(rest: number): number {
  if (rest <= SETTLED_BYTES) return rest;
  return Math.min(LEAF_BYTES, pagesBytes(filledPages(rest)));
}

/** The bytes as leaves; copied only where a leaf has bytes of several buffers. */
export function* cutLeaves(buffers: readonly Uint8Array[]): Generator<Uint8Array> {
  let rest = buffers.reduce((total, { length }) => total + length, 0);
  let [buffer, at] = [0, 0];
  while (rest > 0) {
    const length = leafLength(rest);
    const parts: Uint8Array[] = [];
    for (let missing = length; missing > 0;) {
      const part = buffers[buffer]?.subarray(at, at + missing) ?? new Uint8Array();
      parts.push(part);
      missing -= part.length;
      at += part.length;
      if (at === buffers[buffer]?.length) [buffer, at] = [buffer + 1, 0];
    }
    const [only] = parts;
    yield parts.length === 1 && only ? only : Buffer.concat(parts, length);
    rest -= length;
  }
}
