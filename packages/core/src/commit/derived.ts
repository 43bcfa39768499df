import { hash } from "node:crypto";
import type { Row, RowKey } from "../engine.js";
import { type CountedTable, EMPTY_HEAD, copyHead, encodeHead, isEmptyHead, retally } from "./head.js";
import { makeRow, soundValue } from "./row.js";
import { EMPTY_TALLY, decodeTally, encodeTally } from "./tally.js";

/*
 * For an engine whose rows somebody else may write, too: what our books say then follows from what is there.
 */

/** Of the digest, so that the number is exact in a double. */
const DIGEST_BYTES = 6;

/** A row that no commit of ours wrote. Its number comes from its content, and is below zero as no commit's is. */
export const foreignRow = (key: RowKey, value: Uint8Array): Row =>
  makeRow(key, -1 - hash("sha256", value, "buffer").readUIntBE(0, DIGEST_BYTES), value);

/** Whether a row is somebody else's: then nothing is known of its form. */
export const isForeign = ({ sequence }: Row): boolean => sequence < 0;

/** The row, if it is sound; otherwise what is there is somebody else's. */
export function ownOrForeign(key: RowKey, value: Uint8Array, own: Pick<Row, "sequence" | "checksum"> | undefined): Row {
  const row = own && makeRow(key, own.sequence, value);
  return row && row.checksum === own.checksum ? row : foreignRow(key, value);
}

/** The value of a runtime's head over all its rows; undefined when there are none. */
export function headOver(rows: Iterable<{ readonly table: CountedTable; readonly row: Row }>): Uint8Array | undefined {
  const head = copyHead(EMPTY_HEAD);
  for (const { table, row } of rows) head[table] = retally(head[table], undefined, row);
  return isEmptyHead(head) ? undefined : encodeHead(head);
}

/** The store's tally, with what it says of the OAuth row brought up to date. */
export function tallyOver(stored: Row | undefined, oauth: Row | undefined): Row | undefined {
  const key = { table: "tally" } as const;
  if (!stored && !oauth) return undefined;
  const before = stored ? decodeTally(soundValue(key, stored)) : EMPTY_TALLY;
  const tally = { ...before, oauth: retally(EMPTY_TALLY.oauth, undefined, oauth) };
  return makeRow(key, stored?.sequence ?? 0, encodeTally(tally));
}
