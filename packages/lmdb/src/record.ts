import { crc32 } from "node:zlib";
import type { Row } from "@bolthole/core";
import { ENTRY_BYTES, type NodeEntry, readEntry, writeEntry } from "./document-tree/node.js";

/*
 * A row on the disk, little-endian:
 *
 *   0  form (1)          1  level of the document's root (1; NO_DOCUMENT without a document)
 *   2  length of the runtime id (2 bytes; 0 unless the key hashes it)
 *   4  checksum (4)      8  sequence (8, a double)     16  CRC-32 of sequence, level and root (4)
 *  20  the root of the document (if there is one), the runtime id, the value
 */
const FORM = 2;
const HEADER = 20;
const NO_DOCUMENT = 0xff;

/** A row with the other members of its record. */
export interface StoredRow extends Row {
  /** The root of the row's document tree. Undefined without a document, for an empty one, and for a damaged root. */
  readonly root: NodeEntry | undefined;
  /** The runtime id, if the key holds only its hash. */
  readonly runtimeId: string | undefined;
}

export function encodeRecord(row: StoredRow): Buffer {
  const { root, runtimeId } = row;
  const id = runtimeId === undefined ? undefined : Buffer.from(runtimeId, "utf8");
  const idAt = HEADER + (root ? ENTRY_BYTES : 0);
  const valueAt = idAt + (id?.length ?? 0);
  const record = Buffer.allocUnsafe(valueAt + row.value.length);
  record[0] = FORM;
  record[1] = root?.level ?? NO_DOCUMENT;
  record.writeUInt16LE(id?.length ?? 0, 2);
  record.writeUInt32LE(row.checksum, 4);
  record.writeDoubleLE(row.sequence, 8);
  if (root) writeEntry(root, record, HEADER);
  record.writeUInt32LE(root ? rootChecksum(record) : 0, 16);
  if (id) record.set(id, idAt);
  record.set(row.value, valueAt);
  return record;
}

/** Returns a row that matches no checksum if the record is damaged, so that the reader reports runtime and record. */
export function decodeRecord(record: Buffer): StoredRow {
  const hasDocument = record[1] !== NO_DOCUMENT;
  const idAt = HEADER + (hasDocument ? ENTRY_BYTES : 0);
  if (record.length < idAt || record[0] !== FORM) {
    return { sequence: -1, checksum: -1, value: record, root: undefined, runtimeId: undefined };
  }
  const valueAt = idAt + record.readUInt16LE(2);
  const hasValidRoot = hasDocument && record.readUInt32LE(16) === rootChecksum(record);
  return {
    checksum: record.readUInt32LE(4),
    sequence: record.readDoubleLE(8),
    root: hasValidRoot ? readEntry(record[1] ?? 0, record, HEADER) : undefined,
    runtimeId: valueAt === idAt ? undefined : record.toString("utf8", idAt, valueAt),
    value: record.subarray(valueAt),
  };
}

/** Covers the root, which the checksum of the row does not cover. A wrong root could delete the nodes of other documents. */
const rootChecksum = (record: Buffer): number =>
  crc32(record.subarray(HEADER, HEADER + ENTRY_BYTES), crc32(record.subarray(8, 16), record[1] ?? 0));
