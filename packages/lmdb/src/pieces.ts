/**
 * A document lies in pieces, because replacing large values makes the file grow many times. This size fills 64 pages of
 * LMDB to the last byte.
 */
export const PIECE_BYTES = 64 * 4096 - 16;

/** The document's bytes, cut without copying them. */
export function cutPieces(document: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < document.length; at += PIECE_BYTES) pieces.push(document.subarray(at, at + PIECE_BYTES));
  return pieces;
}
