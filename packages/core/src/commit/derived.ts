import { createHash, hash } from "node:crypto";
import type { Row, RowKey } from "../engine.js";
import {
  type CountedTable,
  EMPTY_RUNTIME_MANIFEST,
  type RuntimeManifest,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  encodeRuntimeManifest,
  isEmptyRuntimeManifest,
  updateDigest,
} from "./runtime-manifest.js";
import { decodeRow, makeRow } from "./row.js";
import { EMPTY_STORE_MANIFEST, decodeStoreManifest, encodeStoreManifest } from "./store-manifest.js";

/*
 * For an engine whose rows somebody else may write, too: what our books say then follows from what is there.
 */

/** Of the digest, so that the number is exact in a double. */
const DIGEST_BYTES = 6;

/** In the place of a commit's number: it comes from the content, and is below zero as no commit's is. */
const foreignSequence = (digest: Buffer): number => -1 - digest.readUIntBE(0, DIGEST_BYTES);

/** A row that no commit of ours wrote. */
export const foreignRow = (key: RowKey, value: Uint8Array): Row =>
  makeRow(key, foreignSequence(hash("sha256", value, "buffer")), value);

/** Whether a row is somebody else's: then nothing is known of its form. */
export const isForeignRow = ({ sequence }: Row): boolean => sequence < 0;

/** The row, if it is sound; otherwise what is there is somebody else's. */
export function ownOrForeignRow(
  key: RowKey,
  value: Uint8Array,
  own: Pick<Row, "sequence" | "checksum"> | undefined,
): Row {
  const row = own && makeRow(key, own.sequence, value);
  return row && row.checksum === own.checksum ? row : foreignRow(key, value);
}

/**
 * The value of a runtime's head over all its rows; undefined when there are none. Which commit wrote the inputs last is
 * taken from the head that was noted, as long as its inputs are these.
 */
export function deriveRuntimeManifest(
  rows: Iterable<{ readonly table: CountedTable; readonly row: Row }>,
  noted: Uint8Array | undefined,
): Uint8Array | undefined {
  const head = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);
  const inputs = createHash("sha256");
  for (const { table, row } of rows) {
    head[table] = updateDigest(head[table], undefined, row);
    if (table === "input") inputs.update(`${String(row.sequence)} ${String(row.checksum)},`);
  }
  if (isEmptyRuntimeManifest(head)) return undefined;
  const before = notedManifest(noted);
  const isSame = before.input.rows === head.input.rows && before.input.sum === head.input.sum;
  head.inputsSequence = isSame ? before.inputsSequence : foreignSequence(inputs.digest());
  return encodeRuntimeManifest(head);
}

/** Another program may have written into our notes, too: what cannot be read there counts as absent. */
function notedManifest(noted: Uint8Array | undefined): RuntimeManifest {
  try {
    return noted ? decodeRuntimeManifest(noted) : EMPTY_RUNTIME_MANIFEST;
  } catch {
    return EMPTY_RUNTIME_MANIFEST;
  }
}

/** The store's tally, with what it says of the OAuth row brought up to date. */
export function deriveStoreManifest(stored: Row | undefined, oauth: Row | undefined): Row | undefined {
  const key = { table: "storeManifest" } as const;
  if (!stored && !oauth) return undefined;
  const before = stored ? decodeRow(key, stored, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
  const tally = { ...before, oauth: updateDigest(EMPTY_STORE_MANIFEST.oauth, undefined, oauth) };
  return makeRow(key, stored?.sequence ?? 0, encodeStoreManifest(tally));
}
