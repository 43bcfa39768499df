import { createHash, hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { ByteRange, DocumentPart } from "@bolthole/contract";

/** What the event loop gives a long document at a time: a millisecond or two of work. */
const TURN = 1024 * 1024;

/** The parts of long bytes one after the other, with the event loop's other work between them. */
async function* inTurns(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  for (let start = 0; start < bytes.length; start += TURN) {
    if (start > 0) await setImmediate();
    yield bytes.subarray(start, start + TURN);
  }
}

export async function sha256Yielding(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length <= TURN) return hash("sha256", bytes, "buffer");
  const digest = createHash("sha256");
  for await (const part of inTurns(bytes)) digest.update(part);
  return digest.digest();
}

export async function crc32Yielding(bytes: Uint8Array): Promise<number> {
  if (bytes.length <= TURN) return crc32(bytes);
  let checksum = 0;
  for await (const part of inTurns(bytes)) checksum = crc32(part, checksum);
  return checksum;
}

/** Copies `bytes` to a place in `target`. */
export async function copyYielding(bytes: Uint8Array, target: Uint8Array, at: number): Promise<void> {
  let place = at;
  for await (const part of inTurns(bytes)) {
    target.set(part, place);
    place += part.length;
  }
}

/** A document as one: its new bytes, and the stretches that it takes from its base. */
export async function assembleYielding(parts: readonly DocumentPart[], base: Uint8Array | undefined): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    await copyYielding(part instanceof Uint8Array ? part : stretch(base, part), bytes, at);
    at += part.length;
  }
  return bytes;
}

function stretch(base: Uint8Array | undefined, { offset, length }: ByteRange): Uint8Array {
  if (!base || offset + length > base.length) throw new RangeError("a stretch lies outside of its document");
  return base.subarray(offset, offset + length);
}
