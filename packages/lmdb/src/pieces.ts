import type { Document } from "@bolthole/core";

/**
 * A document lies in pieces, because replacing large values makes the file grow many times. This size fills 64 pages of
 * LMDB to the last byte.
 */
export const PIECE_BYTES = 64 * 4096 - 16;

/** The document's bytes, cut anew; a piece inside one part is no copy. */
export function cutPieces(document: Document): Buffer[] {
  const pieces: Buffer[] = [];
  for (const part of document) {
    for (let at = 0; at < part.length; at += PIECE_BYTES) {
      pieces.push(Buffer.from(part.buffer, part.byteOffset + at, Math.min(PIECE_BYTES, part.length - at)));
    }
  }
  return pieces;
}
