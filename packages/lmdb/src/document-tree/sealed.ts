import { crc32 } from "node:zlib";

/*
 * A sealed value ends with a CRC-32 over its key and what stands before it: a damaged value is found, and so is a sound one
 * that lies under another key.
 */
const SEAL_BYTES = 4;

/** Room for a body of this many bytes, to be filled and closed with `seal`. */
export const unsealed = (length: number): Buffer => Buffer.alloc(length + SEAL_BYTES);

export function seal(key: Buffer, value: Buffer): Buffer {
  const end = value.length - SEAL_BYTES;
  value.writeUInt32LE(crc32(value.subarray(0, end), crc32(key)), end);
  return value;
}

/** What was sealed, or nothing when it is damaged. */
export function unseal(key: Buffer, value: Buffer): Buffer | undefined {
  const end = value.length - SEAL_BYTES;
  if (end < 0) return undefined;
  const body = value.subarray(0, end);
  return crc32(body, crc32(key)) === value.readUInt32LE(end) ? body : undefined;
}
