import type { SessionProfile } from "@bolthole/contract";

/** The value of a `snapshot` row: what is known of the document that goes with it. */
export interface SnapshotFacts {
  readonly profile: SessionProfile;
  /** Of the document, in bytes. */
  readonly length: number;
  /** Of the whole document. */
  readonly crc32: number;
}

const FORM = 1;
const PROFILES: readonly SessionProfile[] = ["session", "opaque"];
const FACTS_BYTES = 14;

export function encodeSnapshotFacts({ profile, length, crc32 }: SnapshotFacts): Uint8Array {
  const bytes = Buffer.allocUnsafe(FACTS_BYTES);
  bytes[0] = FORM;
  bytes[1] = PROFILES.indexOf(profile);
  bytes.writeUInt32LE(crc32, 2);
  bytes.writeDoubleLE(length, 6);
  return bytes;
}

export function decodeSnapshotFacts(value: Uint8Array): SnapshotFacts {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return {
    profile: PROFILES[bytes.readUInt8(1)] ?? "opaque",
    crc32: bytes.readUInt32LE(2),
    length: bytes.readDoubleLE(6),
  };
}
