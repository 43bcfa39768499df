import { crc32 } from "node:zlib";
import type { RuntimeId } from "@bolthole/contract";
import { bufferOf } from "../bytes.js";
import { expectForm } from "../commit/row.js";
import type { KeyOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { type DocumentFacts, type StoredDocument, storedDocument } from "./stored-document.js";

/*
 * The value of an `ops` row. The JSON of a small operation snapshot is the value itself, so that a commit writes one row. A
 * larger one is the document of the row, and the value holds the facts about it. The first byte tells the two forms apart: JSON
 * never begins with it. A row of an older version may have a long JSON as its value.
 */

/** The longest JSON that is the value of its row. */
export const INLINE_OPS_BYTES = 64 * 1024;

const FORM = 1;
const FACTS_BYTES = 13;

export const opsKey = (runtimeId: RuntimeId): KeyOf<"ops"> => ({ table: "ops", runtimeId });

/** Whether the JSON of an operation snapshot of this length is the value of its row. */
export const isInlineOps = (length: number): boolean => length <= INLINE_OPS_BYTES;

/** Returns the value of a row whose JSON is its document. */
export function encodeOpsFacts({ length, crc32: checksum }: DocumentFacts): Uint8Array {
  const bytes = Buffer.allocUnsafe(FACTS_BYTES);
  bytes[0] = FORM;
  bytes.writeUInt32LE(checksum, 1);
  bytes.writeDoubleLE(length, 5);
  return bytes;
}

/** Whether the value holds the facts about a document, and not the JSON. */
export const isOpsFacts = (value: Uint8Array): boolean => value[0] === FORM;

/** Returns the facts about the JSON of a row. The JSON itself is not checked. */
export function decodeOpsFacts(value: Uint8Array): DocumentFacts {
  if (!isOpsFacts(value)) return { length: value.length, crc32: crc32(value), inline: value };
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  return { crc32: bytes.readUInt32LE(1), length: bytes.readDoubleLE(5) };
}

export const storedOps = (context: StoreContext, runtimeId: RuntimeId): Promise<StoredDocument | undefined> =>
  storedDocument(context, opsKey(runtimeId), decodeOpsFacts);
