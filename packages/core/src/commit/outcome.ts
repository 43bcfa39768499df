import { hash } from "node:crypto";
import type { Version } from "@bolthole/contract";

/** What is kept of a request id: the answer of the mutation that was applied under it, or that none may ever be. */
export type Outcome =
  | {
      readonly state: "applied";
      /** In the answer. */
      readonly version: Version;
      readonly method: string;
      readonly fingerprint: Uint8Array;
    }
  | { readonly state: "sealed" };

const APPLIED = 1;
const SEALED = 2;
const FINGERPRINT_BYTES = 32;
/** After the state, the fingerprint, and the lengths of version and method. */
const TEXTS_AT = 3 + FINGERPRINT_BYTES;

export function encodeOutcome(outcome: Outcome): Uint8Array {
  if (outcome.state === "sealed") return Uint8Array.of(SEALED);
  const { version, method } = outcome;
  const bytes = Buffer.allocUnsafe(TEXTS_AT + version.length + method.length);
  bytes[0] = APPLIED;
  bytes[1] = version.length;
  bytes[2] = method.length;
  bytes.set(outcome.fingerprint, 3);
  bytes.write(version + method, TEXTS_AT, "latin1");
  return bytes;
}

export function decodeOutcome(value: Uint8Array): Outcome {
  if (value[0] === SEALED) return { state: "sealed" };
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const methodAt = TEXTS_AT + bytes.readUInt8(1);
  return {
    state: "applied",
    fingerprint: bytes.subarray(3, TEXTS_AT),
    version: bytes.toString("latin1", TEXTS_AT, methodAt),
    method: bytes.toString("latin1", methodAt, methodAt + bytes.readUInt8(2)),
  };
}

/** A part of a request's arguments in normal form. Absent and empty are different. */
export type Argument = Uint8Array | string | undefined;

/**
 * Tells one request from another under the same id: SHA-256 over method and arguments, each with its length, so that no
 * two lists of arguments meet. Large documents come as their own digest.
 */
export function fingerprint(method: string, args: readonly Argument[]): Uint8Array {
  const parts = [method, ...args].map((arg) => (typeof arg === "string" ? Buffer.from(arg, "utf8") : arg));
  const bytes = Buffer.allocUnsafe(parts.reduce((total, part) => total + LENGTH_BYTES + (part?.length ?? 0), 0));
  let at = 0;
  for (const part of parts) {
    at = bytes.writeInt32LE(part ? part.length : ABSENT, at);
    if (part) {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return hash("sha256", bytes, "buffer");
}

const LENGTH_BYTES = 4;
const ABSENT = -1;
