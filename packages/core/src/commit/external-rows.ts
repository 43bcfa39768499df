import { createHash, hash } from "node:crypto";
import type { Row, RowKey } from "../engine.js";
import {
  type CountedTable,
  EMPTY_RUNTIME_MANIFEST,
  EMPTY_STORE_MANIFEST,
  type RuntimeManifest,
  STORE_MANIFEST_KEY,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  encodeRuntimeManifest,
  encodeStoreManifest,
  isEmptyRuntimeManifest,
  isSameDigest,
  storeManifestOf,
  updateDigest,
} from "./manifests.js";
import { isVerified, makeRow } from "./row.js";

/*
 * External rows are rows that another program wrote into a database that an engine shares with it. Their sequence and form
 * are unknown, and the stored manifests do not count them: the manifests are derived from the rows instead.
 */

/** The number of digest bytes that are used as a sequence. A number of this size is exact in a double. */
const SEQUENCE_BYTES = 6;

/** Returns a sequence that depends on the content. It is below zero, as the sequence of no commit is. */
const externalSequence = (digest: Buffer): number => -1 - digest.readUIntBE(0, SEQUENCE_BYTES);

export const externalRow = (key: RowKey, value: Uint8Array): Row =>
  makeRow(key, externalSequence(hash("sha256", value, "buffer")), value);

export const isExternalRow = ({ sequence }: Row): boolean => sequence < 0;

/** Returns the row as a commit wrote it if the value matches its sequence and checksum, and as an external row otherwise. */
export function ownOrExternalRow(
  key: RowKey,
  value: Uint8Array,
  own: Pick<Row, "sequence" | "checksum"> | undefined,
): Row {
  const row = own && makeRow(key, own.sequence, value);
  return row && row.checksum === own.checksum ? row : externalRow(key, value);
}

/** A runtime manifest over all rows of the runtime, which are added one by one. */
export class DerivedManifest {
  private readonly manifest = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);
  private readonly inputs = createHash("sha256");

  /** Adds a row. The input rows are added in the order of their keys. */
  add(table: CountedTable, row: Row): void {
    const { manifest } = this;
    manifest[table] = updateDigest(manifest[table], undefined, row);
    if (table === "input") this.inputs.update(`${String(row.sequence)} ${String(row.checksum)},`);
  }

  /**
   * Returns the value of the manifest after the last row, or undefined when there are no rows. The sequence of the last input
   * commit is taken from the manifest that was noted, as long as that one counts the same inputs.
   */
  value(noted: Uint8Array | undefined): Uint8Array | undefined {
    const { manifest } = this;
    if (isEmptyRuntimeManifest(manifest)) return undefined;
    const before = readNoted(noted);
    const isSame = isSameDigest(before.input, manifest.input);
    manifest.inputsSequence = isSame ? before.inputsSequence : externalSequence(this.inputs.digest());
    return encodeRuntimeManifest(manifest);
  }
}

/** The other program may have changed the note as well. A note that cannot be read counts as absent. */
function readNoted(noted: Uint8Array | undefined): RuntimeManifest {
  try {
    return noted ? decodeRuntimeManifest(noted) : EMPTY_RUNTIME_MANIFEST;
  } catch {
    return EMPTY_RUNTIME_MANIFEST;
  }
}

/**
 * Returns the stored manifest of the store with the digest of the OAuth row that is there, and a new manifest for a store without
 * one. A damaged manifest is returned as it is: core finds the damage when it verifies the row, and can count the manifest again.
 */
export function deriveStoreManifest(stored: Row | undefined, oauth: Row | undefined): Row {
  if (stored && !isVerified(STORE_MANIFEST_KEY, stored)) return stored;
  const before = storeManifestOf(stored);
  const manifest = { ...before, oauth: updateDigest(EMPTY_STORE_MANIFEST.oauth, undefined, oauth) };
  return makeRow(STORE_MANIFEST_KEY, stored?.sequence ?? 0, encodeStoreManifest(manifest));
}
