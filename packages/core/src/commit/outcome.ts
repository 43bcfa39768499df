import type { Version } from "@bolthole/contract";
import { UnknownFormError } from "./row.js";
import { bufferOf } from "../bytes.js";

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
  if (value[0] !== APPLIED) throw new UnknownFormError("state", `${String(APPLIED)} or ${String(SEALED)}`, value[0]);
  const bytes = bufferOf(value);
  const methodAt = TEXTS_AT + bytes.readUInt8(1);
  return {
    state: "applied",
    fingerprint: bytes.subarray(3, TEXTS_AT),
    version: bytes.toString("latin1", TEXTS_AT, methodAt),
    method: bytes.toString("latin1", methodAt, methodAt + bytes.readUInt8(2)),
  };
}
