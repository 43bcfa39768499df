import type { TableDigest } from "./runtime-manifest.js";
import { expectForm } from "./row.js";
import { bufferOf } from "../bytes.js";

/** The books of the store as a whole, beside the heads of its runtimes. */
export interface StoreManifest {
  readonly outcome: TableDigest;
  readonly oauth: TableDigest;
  /** The heads of all runtimes: a runtime that vanished, or that went back to an older state as a whole, shows here. */
  readonly runtimeManifest: TableDigest;
  /** Outcomes of request ids made before this instant (milliseconds since the epoch) are no longer kept. */
  readonly horizonMs: number;
}

export const STORE_MANIFEST_KEY = { table: "storeManifest" } as const;

export const EMPTY_STORE_MANIFEST: StoreManifest = {
  outcome: { rows: 0, sum: 0 },
  oauth: { rows: 0, sum: 0 },
  runtimeManifest: { rows: 0, sum: 0 },
  horizonMs: 0,
};

/** Form 1, without the heads, never left this repository. */
const FORM = 2;
const TALLY_BYTES = 33;

export function encodeStoreManifest({ outcome, oauth, runtimeManifest: head, horizonMs }: StoreManifest): Uint8Array {
  const bytes = Buffer.allocUnsafe(TALLY_BYTES);
  bytes[0] = FORM;
  bytes.writeUInt32LE(outcome.rows, 1);
  bytes.writeUInt32LE(outcome.sum, 5);
  bytes.writeUInt32LE(oauth.rows, 9);
  bytes.writeUInt32LE(oauth.sum, 13);
  bytes.writeDoubleLE(horizonMs, 17);
  bytes.writeUInt32LE(head.rows, 25);
  bytes.writeUInt32LE(head.sum, 29);
  return bytes;
}

export function decodeStoreManifest(value: Uint8Array): StoreManifest {
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  return {
    outcome: { rows: bytes.readUInt32LE(1), sum: bytes.readUInt32LE(5) },
    oauth: { rows: bytes.readUInt32LE(9), sum: bytes.readUInt32LE(13) },
    horizonMs: bytes.readDoubleLE(17),
    runtimeManifest: { rows: bytes.readUInt32LE(25), sum: bytes.readUInt32LE(29) },
  };
}
