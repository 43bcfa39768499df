import { createHash, hash } from "node:crypto";
import type { Row, RowKey } from "../engine.js";
import { type CountedTable, EMPTY_HEAD, copyHead, decodeHead, encodeHead, isEmptyHead, retally } from "./head.js";
import { makeRow, soundValue } from "./row.js";
import { EMPTY_TALLY, decodeTally, encodeTally } from "./tally.js";

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
export const isForeign = ({ sequence }: Row): boolean => sequence < 0;

/** The row, if it is sound; otherwise what is there is somebody else's. */
export function ownOrForeign(key: RowKey, value: Uint8Array, own: Pick<Row, "sequence" | "checksum"> | undefined): Row {
  const row = own && makeRow(key, own.sequence, value);
  return row && row.checksum === own.checksum ? row : foreignRow(key, value);
}

/**
 * The value of a runtime's head over all its rows; undefined when there are none. Which commit wrote the inputs last is
 * taken from the head that was noted, as long as its inputs are these.
 */
export function headOver(
  rows: Iterable<{ readonly table: CountedTable; readonly row: Row }>,
  noted: Uint8Array | undefined,
): Uint8Array | undefined {
  const head = copyHead(EMPTY_HEAD);
  const inputs = createHash("sha256");
  for (const { table, row } of rows) {
    head[table] = retally(head[table], undefined, row);
    if (table === "input") inputs.update(`${String(row.sequence)} ${String(row.checksum)},`);
  }
  if (isEmptyHead(head)) return undefined;
  const before = noted ? decodeHead(noted) : EMPTY_HEAD;
  const isSame = before.input.rows === head.input.rows && before.input.sum === head.input.sum;
  head.inputsSequence = isSame ? before.inputsSequence : foreignSequence(inputs.digest());
  return encodeHead(head);
}

/** The store's tally, with what it says of the OAuth row brought up to date. */
export function tallyOver(stored: Row | undefined, oauth: Row | undefined): Row | undefined {
  const key = { table: "tally" } as const;
  if (!stored && !oauth) return undefined;
  const before = stored ? decodeTally(soundValue(key, stored)) : EMPTY_TALLY;
  const tally = { ...before, oauth: retally(EMPTY_TALLY.oauth, undefined, oauth) };
  return makeRow(key, stored?.sequence ?? 0, encodeTally(tally));
}
