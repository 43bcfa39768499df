import type { RuntimeId } from "@bolthole/contract";
import { seal, unseal, unsealed } from "../document-tree/checksum.js";

/*
 * The values in the space of the row spaces that are not rows. They record which row spaces are needed:
 *
 *   pointer   the row space that holds the input rows and receipts of a runtime. A runtime without one has them in its default
 *             row space.
 *   staging   a row space that is being written. The commit deletes the record; until then, no runtime has the rows.
 *   garbage   a row space that a commit replaced. Its rows are deleted in later transactions, and then the record.
 *
 *   pointer:           row space id (6)  runtime id
 *   staging, garbage:  runtime id
 *
 * Numbers are little-endian; each value is sealed (see `seal`). A damaged value is never used.
 */
const SPACE_BYTES = 6;

export interface Pointer {
  readonly space: number;
  readonly runtimeId: RuntimeId;
}

export function encodePointer(key: Buffer, { space, runtimeId }: Pointer): Buffer {
  const id = Buffer.from(runtimeId, "utf8");
  const value = unsealed(SPACE_BYTES + id.length);
  value.writeUIntLE(space, 0, SPACE_BYTES);
  value.set(id, SPACE_BYTES);
  return seal(key, value);
}

/** Returns a pointer, or undefined when it is damaged. */
export function decodePointer(key: Buffer, value: Buffer): Pointer | undefined {
  const body = unseal(key, value);
  if (!body || body.length < SPACE_BYTES) return undefined;
  return { space: body.readUIntLE(0, SPACE_BYTES), runtimeId: body.toString("utf8", SPACE_BYTES) };
}

/** Returns the value of a staging or garbage record. */
export function encodeOwner(key: Buffer, runtimeId: RuntimeId): Buffer {
  const id = Buffer.from(runtimeId, "utf8");
  const value = unsealed(id.length);
  value.set(id);
  return seal(key, value);
}

/** Returns the runtime id of a staging or garbage record, or undefined when the record is damaged. */
export const decodeOwner = (key: Buffer, value: Buffer): RuntimeId | undefined => unseal(key, value)?.toString("utf8");
