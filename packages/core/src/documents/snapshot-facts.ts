import type { SessionProfile } from "@bolthole/contract";
import { UnknownFormError, expectForm } from "../commit/row.js";
import { bufferOf } from "../bytes.js";

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
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  const profile = PROFILES[bytes.readUInt8(1)];
  // Any other profile would turn the guards of the stored one off.
  if (!profile) throw new UnknownFormError("profile", `a number below ${String(PROFILES.length)}`, value[1]);
  return {
    profile,
    crc32: bytes.readUInt32LE(2),
    length: bytes.readDoubleLE(6),
  };
}
