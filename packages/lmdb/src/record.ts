import type { Row } from "@bolthole/core";

/*
 * A row on the disk, little-endian:
 *
 *   0  form (1)          1  reserved         2  length of the runtime id (2 bytes; 0 unless the key hashes it)
 *   4  checksum (4)      8  sequence (8, a double)     16  number of pieces of its document (4)
 *  20  runtime id, then the value
 */
const FORM = 1;
const HEADER = 20;

/** A row as it lies on the disk. */
export interface StoredRow extends Row {
  /** Of the document that goes with the row, under the row's sequence. */
  readonly pieces: number;
  /** Only when the key holds no more than its hash. */
  readonly runtimeId: string | undefined;
}

export function encodeRecord(row: StoredRow): Buffer {
  const id = row.runtimeId === undefined ? undefined : Buffer.from(row.runtimeId, "utf8");
  const idLength = id?.length ?? 0;
  const record = Buffer.allocUnsafe(HEADER + idLength + row.value.length);
  record[0] = FORM;
  record[1] = 0;
  record.writeUInt16LE(idLength, 2);
  record.writeUInt32LE(row.checksum, 4);
  record.writeDoubleLE(row.sequence, 8);
  record.writeUInt32LE(row.pieces, 16);
  if (id) record.set(id, HEADER);
  record.set(row.value, HEADER + idLength);
  return record;
}

export function decodeRecord(record: Buffer): StoredRow {
  if (record.length < HEADER || record[0] !== FORM) {
    // Whatever it is, its checksum will not fit: the reader names runtime and record.
    return { sequence: -1, checksum: -1, value: record, pieces: 0, runtimeId: undefined };
  }
  const idLength = record.readUInt16LE(2);
  return {
    checksum: record.readUInt32LE(4),
    sequence: record.readDoubleLE(8),
    pieces: record.readUInt32LE(16),
    runtimeId: idLength === 0 ? undefined : record.toString("utf8", HEADER, HEADER + idLength),
    value: record.subarray(HEADER + idLength),
  };
}
