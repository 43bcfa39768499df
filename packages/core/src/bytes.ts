import { createHash, hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { ByteRange, DocumentPart } from "@bolthole/contract";

/** Returns a buffer over the same memory. */
export const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Long bytes are worked on in slices of this size, a millisecond or two each, between which the event loop runs. */
const SLICE_BYTES = 1024 * 1024;

/** Yields slices of long bytes, and lets the event loop run between them. */
async function* slicesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  for (let start = 0; start < bytes.length; start += SLICE_BYTES) {
    if (start > 0) await setImmediate();
    yield bytes.subarray(start, start + SLICE_BYTES);
  }
}

export async function sha256Yielding(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length <= SLICE_BYTES) return hash("sha256", bytes, "buffer");
  const digest = createHash("sha256");
  for await (const slice of slicesOf(bytes)) digest.update(slice);
  return digest.digest();
}

export async function crc32Yielding(bytes: Uint8Array): Promise<number> {
  if (bytes.length <= SLICE_BYTES) return crc32(bytes);
  let checksum = 0;
  for await (const slice of slicesOf(bytes)) checksum = crc32(slice, checksum);
  return checksum;
}

/** Whether two byte sequences are equal. */
export async function equalYielding(one: Uint8Array, other: Uint8Array): Promise<boolean> {
  if (one.length !== other.length) return false;
  let at = 0;
  for await (const slice of slicesOf(one)) {
    if (Buffer.compare(slice, other.subarray(at, at + slice.length)) !== 0) return false;
    at += slice.length;
  }
  return true;
}

/** Reads a document of known length into new memory. */
export async function inMemory(length: number, readInto: (target: Uint8Array) => Promise<void>): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  await readInto(bytes);
  return bytes;
}

/** Copies `bytes` into `target` at `offset`. */
export async function copyYielding(bytes: Uint8Array, target: Uint8Array, offset: number): Promise<void> {
  let at = offset;
  for await (const slice of slicesOf(bytes)) {
    target.set(slice, at);
    at += slice.length;
  }
}

/** Returns a whole document: its new bytes, and the ranges that it copies from its base. */
export async function assembleYielding(parts: readonly DocumentPart[], base: Uint8Array | undefined): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    await copyYielding(part instanceof Uint8Array ? part : rangeIn(base, part), bytes, at);
    at += part.length;
  }
  return bytes;
}

function rangeIn(base: Uint8Array | undefined, { offset, length }: ByteRange): Uint8Array {
  if (!base || offset + length > base.length) throw new RangeError("a range ends outside of its document");
  return base.subarray(offset, offset + length);
}
