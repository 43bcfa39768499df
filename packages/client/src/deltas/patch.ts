import type { SnapshotPatch } from "@bolthole/contract";
import { asBuffer } from "./as-buffer.js";
import { diff } from "./diff.js";
import type { HeldDocument } from "./held-documents.js";
import type { PatchLimits } from "./pieces.js";

/** A smaller document travels whole: a patch of it would save nothing that is felt. */
const WORTH_A_PATCH = 16 * 1024;
/** About what one piece has on the wire besides its new bytes. */
const PIECE_BYTES = 16;

/** The document, whose CRC-32 is `checksum`, as a patch of the held one. Undefined: it had better travel whole. */
export function patchOf(
  base: HeldDocument,
  document: Uint8Array,
  checksum: number,
  limits: PatchLimits,
): SnapshotPatch | undefined {
  if (document.length < WORTH_A_PATCH) return undefined;
  const pieces = diff(base.bytes, asBuffer(document), limits);
  if (!pieces) return undefined;
  const cost = pieces.reduce(
    (total, piece) => total + PIECE_BYTES + (piece instanceof Uint8Array ? piece.length : 0),
    0,
  );
  if (cost > document.length / 2) return undefined;
  // The checksum is of the new document itself, not put together of what is known of its pieces: so it also proves that
  // the held bytes are still those that were committed.
  return { baseVersion: base.version, resultLength: document.length, resultCrc32: checksum, pieces };
}
