import { hash } from "node:crypto";
import type { DocumentRowKey, KeyOf, RowKey, RowSetKey, Table } from "@bolthole/core";
import { uuidFromBytes, uuidToBytes, writeUuid } from "@bolthole/json";

/*
 * The keys of the data file. LMDB keeps them in byte order, so this is also the order of the file:
 *
 *   space          then                                         value
 *   ------------   ------------------------------------------   -----------------------------------------------
 *   1  store       0                                            sequence of the last commit (counter)
 *                  0 1                                          store id and epoch (JSON)
 *                  0 2                                          next node id (counter)
 *                  0 3                                          next row space id (counter)
 *                  1                                            store manifest row
 *                  2                                            OAuth flow row
 *                  3  request id (16)                           outcome row
 *   2  runtimes    runtime id  0                                runtime manifest row: the first row of its runtime
 *                  runtime id  1                                session snapshot row
 *                  runtime id  2                                lifecycle row
 *                  runtime id  3                                operation snapshot row
 *                  runtime id  4  input id (16)                 input row
 *                  runtime id  5  run id (16)  sequence (8)     receipt row
 *   4  documents   1  node id (6)                               node of a document tree
 *                  2  node id (6)                               reference count of a node
 *                  3  commit sequence (6)  index (4)            garbage record
 *                  4  first node id (6)                         staging record
 *   5  row spaces  1  runtime id                                pointer to the runtime's row space
 *                  2  row space id (6)                          staging record of a row space
 *                  3  row space id (6)                          garbage record of a row space
 *                  3  000000000000  runtime id                  garbage record of the runtime's default row space
 *                  4  row space id (6)  4  input id (16)        input row
 *                  4  row space id (6)  5  run id (16)  sequence (8)  receipt row
 *
 *   runtime id:  its UTF-8 bytes, each 00 written as 00 FF, then 00 01
 *                or, when that is longer than 1,024 bytes:  FF  SHA-256 of the UTF-8 bytes (32)
 *
 * Spaces, table numbers and the kinds of the documents' space have one byte; other numbers are big-endian, so that they
 * sort by value. All rows of one runtime are adjacent, so a commit changes few pages: its input rows and receipts are in
 * its default row space, in space 2, until an import replaces all of them. Space 3 held the documents of format 1, and space
 * 5 is new in format 3. A number is never used again for something else.
 */
const STORE = 1;
const RUNTIMES = 2;
const DOCUMENTS = 4;
const ROW_SPACES = 5;

interface TableForm {
  readonly number: number;
  readonly space: typeof STORE | typeof RUNTIMES;
  /** The format version that introduced the table. */
  readonly since: number;
}

/** Every table of the on-disk format. */
export const TABLES = {
  storeManifest: { number: 1, space: STORE, since: 1 },
  oauth: { number: 2, space: STORE, since: 1 },
  outcome: { number: 3, space: STORE, since: 1 },
  runtimeManifest: { number: 0, space: RUNTIMES, since: 1 },
  snapshot: { number: 1, space: RUNTIMES, since: 1 },
  lifecycle: { number: 2, space: RUNTIMES, since: 1 },
  ops: { number: 3, space: RUNTIMES, since: 1 },
  input: { number: 4, space: RUNTIMES, since: 1 },
  receipt: { number: 5, space: RUNTIMES, since: 1 },
} as const satisfies Record<Table, TableForm>;

/** The key of the sequence of the last commit. */
export const SEQUENCE_KEY = Buffer.from([STORE, 0]);
/** The key of the store id and epoch. */
export const IDENTITY_KEY = Buffer.from([STORE, 0, 1]);
/** The key of the next node id. */
export const NODE_ID_KEY = Buffer.from([STORE, 0, 2]);

/** The key of the next row space id. */
export const ROW_SPACE_ID_KEY = Buffer.from([STORE, 0, 3]);

/** The kinds of values in the documents' space. Each key contains one number of 6 bytes. */
export const DOCUMENT_KEYS = {
  /** A node of a document tree, under its id. */
  node: 1,
  /** The reference count of a node, under its id. Stored only while it is two or more. */
  count: 2,
  /** Nodes that a commit dropped, under its sequence and the index of the record (4 bytes). */
  garbage: 3,
  /** The nodes of a document that is not committed yet, under the id of the first node. */
  staging: 4,
} as const;
export type DocumentKey = keyof typeof DOCUMENT_KEYS;

/** Ids that are longer than this after escaping are stored as a hash: LMDB's keys have at most 1,978 bytes. */
const MAX_PLAIN_ID = 1024;
/** The first byte of a hashed id. UTF-8 text never contains it, so hashed ids differ from plain ones and sort last. */
const HASHED = 0xff;
const HASHED_BYTES = 33;

/** Whether the key of this runtime contains only a hash of its id. */
export const isHashedId = (runtimeId: string): boolean =>
  // A UTF-16 unit becomes at most 3 bytes, and escaping at most doubles them: most ids need no further check.
  runtimeId.length * 6 > MAX_PLAIN_ID && runtimeIdKey(runtimeId)[0] === HASHED;

/**
 * Returns a runtime id as part of a key. The end mark `00 01` and the escape `00 FF` make ids sort by their bytes, and
 * prevent one id from being a prefix of another.
 */
function runtimeIdKey(runtimeId: string): Buffer {
  const bytes = Buffer.from(runtimeId, "utf8");
  const plain = bytes.includes(0) ? escapeZeros(bytes) : bytes;
  if (plain.length > MAX_PLAIN_ID) return Buffer.concat([Buffer.of(HASHED), hash("sha256", bytes, "buffer")]);
  return Buffer.concat([plain, END_OF_ID]);
}

const END_OF_ID = Buffer.of(0, 1);

const escapeZeros = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString("latin1").replaceAll("\0", "\0\xff"), "latin1");

/** Returns the runtime id at `start` of a key, undefined for a hashed one, and the position after it. */
function parseRuntimeIdKey(key: Buffer, start: number): { id: string | undefined; end: number } {
  if (key[start] === HASHED) return { id: undefined, end: start + HASHED_BYTES };
  let end = start;
  while (!(key[end] === 0 && key[end + 1] === 1)) {
    end += key[end] === 0 ? 2 : 1;
    if (end >= key.length) {
      throw new RangeError(
        `expected the end mark 00 01 of the runtime id in a key, found the end of the key: ${key.toString("hex")}`,
      );
    }
  }
  const plain = key.subarray(start, end);
  const bytes = plain.includes(0) ? Buffer.from(plain.toString("latin1").replaceAll("\0\xff", "\0"), "latin1") : plain;
  return { id: bytes.toString("utf8"), end: end + 2 };
}

/** Returns the key of a runtime's row, followed by `rest` bytes that the caller fills. */
function runtimeKey(runtimeId: string, table: Table, rest: number): Buffer {
  const idBytes = Buffer.byteLength(runtimeId, "utf8");
  // Every commit makes several keys, so the usual id is written in place. The result is the same.
  const otherId = idBytes <= MAX_PLAIN_ID && !runtimeId.includes("\0") ? undefined : runtimeIdKey(runtimeId);
  const tableAt = 1 + (otherId ? otherId.length : idBytes + END_OF_ID.length);
  const key = Buffer.allocUnsafe(tableAt + 1 + rest);
  key[0] = RUNTIMES;
  if (otherId) {
    key.set(otherId, 1);
  } else {
    key.write(runtimeId, 1, "utf8");
    key.set(END_OF_ID, 1 + idBytes);
  }
  key[tableAt] = TABLES[table].number;
  return key;
}

const runtimePrefix = (runtimeId: string, table: Table): Buffer => runtimeKey(runtimeId, table, 0);

/** The number of the row space that is part of a runtime's other rows. It is no row space id. */
export const DEFAULT_ROW_SPACE = 0;

/** Returns the stored form of a row key. An input row or a receipt is in the row space `space`. */
export function encodeKey(key: RowKey, space = DEFAULT_ROW_SPACE): Buffer {
  switch (key.table) {
    case "storeManifest":
      return STORE_MANIFEST_KEY;
    case "oauth":
      return OAUTH_KEY;
    case "outcome":
      return withUuid(Buffer.from(OUTCOME_KEY), key.requestId, UUID_BYTES);
    case "input":
      return withUuid(rowSetKey(key, space, UUID_BYTES), key.inputId, UUID_BYTES);
    case "receipt": {
      const bytes = withUuid(rowSetKey(key, space, UUID_BYTES + 8), key.runId, UUID_BYTES + 8);
      bytes.writeBigUInt64BE(key.sequence, bytes.length - 8);
      return bytes;
    }
    case "snapshot":
    case "lifecycle":
    case "ops":
    case "runtimeManifest":
      return runtimePrefix(key.runtimeId, key.table);
  }
}

const UUID_BYTES = 16;
const STORE_MANIFEST_KEY = Buffer.of(STORE, TABLES.storeManifest.number);
const OAUTH_KEY = Buffer.of(STORE, TABLES.oauth.number);
/** The key of an outcome, without its request id. */
const OUTCOME_KEY = Buffer.concat([Buffer.of(STORE, TABLES.outcome.number), Buffer.alloc(UUID_BYTES)]);

/** Returns the key of a table in a row space, followed by `rest` bytes that the caller fills. */
function rowSetKey({ runtimeId, table }: Pick<RowSetKey, "runtimeId" | "table">, space: number, rest: number): Buffer {
  if (space === DEFAULT_ROW_SPACE) return runtimeKey(runtimeId, table, rest);
  const key = Buffer.allocUnsafe(SPACE_ROW_BYTES + 1 + rest);
  key[0] = ROW_SPACES;
  key[1] = ROW_SPACE_KEYS.row;
  key.writeUIntBE(space, NUMBER_AT, NUMBER_BYTES);
  key[SPACE_ROW_BYTES] = TABLES[table].number;
  return key;
}

function withUuid(key: Buffer, uuid: string, fromEnd: number): Buffer {
  writeUuid(uuid, key, key.length - fromEnd);
  return key;
}

/** A range of keys: `start` belongs to it, `end` does not. */
export interface Bounds {
  readonly start: Buffer;
  readonly end: Buffer;
}

/** Returns a key that sorts after every key with this prefix. */
const after = (prefix: Buffer): Buffer => Buffer.concat([prefix, Buffer.of(0xff)]);

/** Returns the range of a runtime's input rows in a row space, from just after the row `afterId` on. */
export function inputBounds(runtimeId: string, space: number, afterId: string | undefined): Bounds {
  const prefix = rowSetKey({ runtimeId, table: "input" }, space, 0);
  const start = afterId === undefined ? prefix : Buffer.concat([prefix, uuidToBytes(afterId), Buffer.of(0)]);
  return { start, end: prefixEnd(prefix) };
}

/** Returns the range of a runtime's receipts in a row space, from just after the row `after` on. */
export function receiptBounds(
  runtimeId: string,
  space: number,
  after: Pick<KeyOf<"receipt">, "runId" | "sequence"> | undefined,
): Bounds {
  const prefix = rowSetKey({ runtimeId, table: "receipt" }, space, 0);
  const start = after
    ? Buffer.concat([encodeKey({ table: "receipt", runtimeId, ...after }, space), Buffer.of(0)])
    : prefix;
  return { start, end: prefixEnd(prefix) };
}

/** Returns the range of all rows in a row space. In a numbered one, that is everything under its id. */
export const rowSpaceBounds = (runtimeId: string, space: number): Bounds =>
  space === DEFAULT_ROW_SPACE
    ? { start: runtimePrefix(runtimeId, "input"), end: prefixEnd(runtimePrefix(runtimeId, "receipt")) }
    : { start: rowSpaceKey("row", space), end: afterRowSpace(space) };

/** Returns the run id and the sequence at the end of a receipt key. */
export const trailingReceipt = (key: Buffer): Pick<KeyOf<"receipt">, "runId" | "sequence"> => ({
  runId: uuidFromBytes(key.subarray(key.length - UUID_BYTES - 8, key.length - 8)),
  sequence: key.readBigUInt64BE(key.length - 8),
});

/** Returns the end of the range with this prefix. Its last byte is a table number, so the next number ends the range. */
function prefixEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** Returns the range of the outcome rows, from just after the row `afterId` on. */
export function outcomeBounds(afterId: string | undefined): Bounds {
  const prefix = Buffer.of(STORE, TABLES.outcome.number);
  const start = afterId === undefined ? prefix : Buffer.concat([prefix, uuidToBytes(afterId), Buffer.of(0)]);
  return { start, end: Buffer.of(STORE, TABLES.outcome.number + 1) };
}

/** Returns the range of all rows of the runtimes that sort after this one. */
export function runtimeBounds(afterRuntime: string | undefined): Bounds {
  const start =
    afterRuntime === undefined
      ? Buffer.of(RUNTIMES)
      : after(Buffer.concat([Buffer.of(RUNTIMES), runtimeIdKey(afterRuntime)]));
  return { start, end: Buffer.of(RUNTIMES + 1) };
}

/**
 * Parses a key of the runtimes' space: the runtime id (undefined when it is hashed), the table number, and a key after all
 * rows of the runtime. Throws a RangeError when the key has no complete runtime id.
 */
export function parseRuntimeKey(key: Buffer): { runtimeId: string | undefined; table: number; afterRuntime: Buffer } {
  const { id, end } = parseRuntimeIdKey(key, 1);
  return { runtimeId: id, table: key[end] ?? -1, afterRuntime: after(key.subarray(0, end)) };
}

/**
 * Whether a key of the runtimes' space belongs to this runtime. False for a damaged key, and for a hashed key whose row
 * contains a damaged id.
 */
export const isOfRuntime = (key: Buffer, runtimeId: string): boolean => {
  const id = runtimeIdKey(runtimeId);
  return id.equals(key.subarray(1, 1 + id.length));
};

/** Returns the row key of a stored key, or undefined when it is not exactly what `encodeKey` returns for a row. */
export function parseKey(key: Buffer, hashedRuntimeId: string | undefined): RowKey | undefined {
  const parsed = key[0] === RUNTIMES ? parseRuntimeRow(key, hashedRuntimeId) : parseStoreRow(key);
  return parsed && encodeKey(parsed).equals(key) ? parsed : undefined;
}

function parseStoreRow(key: Buffer): RowKey | undefined {
  for (const table of ["storeManifest", "oauth"] as const) if (key[1] === TABLES[table].number) return { table };
  const isOutcome = key[1] === TABLES.outcome.number && key.length === 2 + UUID_BYTES;
  return isOutcome ? { table: "outcome", requestId: trailingUuid(key) } : undefined;
}

function parseRuntimeRow(key: Buffer, hashedRuntimeId: string | undefined): RowKey | undefined {
  const { id = hashedRuntimeId, end } = parseRuntimeIdKey(key, 1);
  if (id === undefined) return undefined;
  const rest = key.length - end - 1;
  for (const table of ["runtimeManifest", "snapshot", "lifecycle", "ops"] as const) {
    if (key[end] === TABLES[table].number) return { table, runtimeId: id };
  }
  if (key[end] === TABLES.input.number && rest === UUID_BYTES) {
    return { table: "input", runtimeId: id, inputId: trailingUuid(key) };
  }
  if (key[end] === TABLES.receipt.number && rest === UUID_BYTES + 8) {
    return { table: "receipt", runtimeId: id, ...trailingReceipt(key) };
  }
  return undefined;
}

/** Returns the range of all rows: first those of the store, then runtime by runtime, each beginning with its manifest. */
export const rowBounds = (): Bounds => ({ start: Buffer.of(STORE, 1), end: Buffer.of(RUNTIMES + 1) });

/** Returns the key of the row of a table of the runtime that a key belongs to. */
export function documentRowBeside(key: Buffer, table: DocumentRowKey["table"]): Buffer {
  const { end } = parseRuntimeIdKey(key, 1);
  return Buffer.concat([key.subarray(0, end), Buffer.of(TABLES[table].number)]);
}

/** Returns the UUID at the end of an input or outcome key. */
export const trailingUuid = (key: Buffer): string => uuidFromBytes(key.subarray(key.length - 16));

const NUMBER_AT = 2;
const NUMBER_BYTES = 6;
/** The size of the longest keys of the documents' space. */
export const DOCUMENT_KEY_BYTES = NUMBER_AT + NUMBER_BYTES + 4;

/** Returns a key of the documents' space. */
export function documentKey(kind: DocumentKey, number: number): Buffer {
  const key = Buffer.allocUnsafe(NUMBER_AT + NUMBER_BYTES);
  key[0] = DOCUMENTS;
  key[1] = DOCUMENT_KEYS[kind];
  key.writeUIntBE(number, NUMBER_AT, NUMBER_BYTES);
  return key;
}

/** Returns the key of the garbage record with this index of a commit. */
export const garbageKey = (sequence: number, index: number): Buffer => {
  const rest = Buffer.allocUnsafe(4);
  rest.writeUInt32BE(index);
  return Buffer.concat([documentKey("garbage", sequence), rest]);
};

/** Returns the range of all keys of one kind, from a number on. */
export const documentBounds = (kind: DocumentKey, from = 0): Bounds => ({
  start: documentKey(kind, from),
  end: Buffer.of(DOCUMENTS, DOCUMENT_KEYS[kind] + 1),
});

/** Returns the number in a key of the documents' space. Throws a RangeError for another key. */
export function numberOf(key: Buffer): number {
  if (key[0] !== DOCUMENTS || key.length < NUMBER_AT + NUMBER_BYTES) {
    throw new RangeError(
      `expected a key of the documents' space with at least ${NUMBER_AT + NUMBER_BYTES} bytes, found ${key.toString("hex")}`,
    );
  }
  return key.readUIntBE(NUMBER_AT, NUMBER_BYTES);
}

/** No key is longer than this. */
export const LONGEST_KEY_BYTES = 1100;

/** The kinds of values in the space of the row spaces. */
export const ROW_SPACE_KEYS = {
  /** The row space of a runtime, under the runtime id. */
  pointer: 1,
  /** A row space that is not committed yet, under its id. */
  staging: 2,
  /** A row space that is to be deleted, under its id. */
  garbage: 3,
  /** A row of a row space, under the id, the table and the rest of its key. */
  row: 4,
} as const;
export type RowSpaceKey = keyof typeof ROW_SPACE_KEYS;

/** The bytes of a row's key up to the end of its row space id. */
const SPACE_ROW_BYTES = NUMBER_AT + NUMBER_BYTES;

/** Returns the key of the pointer of a runtime. */
export const pointerKey = (runtimeId: string): Buffer =>
  Buffer.concat([Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.pointer), runtimeIdKey(runtimeId)]);

/** Returns the key of the staging record of a row space. */
export const spaceStagingKey = (space: number): Buffer => rowSpaceKey("staging", space);

/** Returns the key of the garbage record of a row space. The default row space is that of the runtime. */
export const spaceGarbageKey = (runtimeId: string, space: number): Buffer =>
  space === DEFAULT_ROW_SPACE
    ? Buffer.concat([rowSpaceKey("garbage", space), runtimeIdKey(runtimeId)])
    : rowSpaceKey("garbage", space);

function rowSpaceKey(kind: Exclude<RowSpaceKey, "pointer">, space: number): Buffer {
  const key = Buffer.allocUnsafe(SPACE_ROW_BYTES);
  key[0] = ROW_SPACES;
  key[1] = ROW_SPACE_KEYS[kind];
  key.writeUIntBE(space, NUMBER_AT, NUMBER_BYTES);
  return key;
}

const MAX_ROW_SPACE = 2 ** (8 * NUMBER_BYTES) - 1;

/** Returns a key after all keys of rows in a numbered row space, and before those in the next one. */
export const afterRowSpace = (space: number): Buffer =>
  space < MAX_ROW_SPACE ? rowSpaceKey("row", space + 1) : Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.row + 1);

/** Returns the range of all keys of one kind in the space of the row spaces. */
export const rowSpaceKindBounds = (kind: RowSpaceKey): Bounds => ({
  start: kind === "pointer" ? Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.pointer) : rowSpaceKey(kind, 0),
  end: Buffer.of(ROW_SPACES, ROW_SPACE_KEYS[kind] + 1),
});

/** Returns the ranges of the space of the row spaces in which no kind of value is stored. */
export const unusedRowSpaceBounds = (): readonly Bounds[] => [
  { start: Buffer.of(ROW_SPACES), end: Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.pointer) },
  ...(["staging", "garbage", "row"] as const).map((kind) => ({
    start: Buffer.of(ROW_SPACES, ROW_SPACE_KEYS[kind]),
    end: rowSpaceKey(kind, 0),
  })),
  { start: Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.row + 1), end: Buffer.of(ROW_SPACES + 1) },
];

/** Whether a key of the space of the row spaces, but not one of a pointer, has a row space id. */
export const hasRowSpaceId = (key: Buffer): boolean => key.length >= SPACE_ROW_BYTES;

/** Returns the row space id in a staging record's, garbage record's or row's key. Throws a RangeError for another key. */
export function rowSpaceOf(key: Buffer): number {
  if (key[0] !== ROW_SPACES || key[1] === ROW_SPACE_KEYS.pointer || key.length < SPACE_ROW_BYTES) {
    throw new RangeError(
      `expected a key of a row space with at least ${SPACE_ROW_BYTES} bytes, found ${key.toString("hex")}`,
    );
  }
  return key.readUIntBE(NUMBER_AT, NUMBER_BYTES);
}

/** Returns the row key of a row in a numbered row space of this runtime, or undefined when `encodeKey` never returns the key. */
export function parseRowSpaceKey(key: Buffer, runtimeId: string): RowSetKey | undefined {
  const rest = key.length - SPACE_ROW_BYTES - 1;
  if (key[SPACE_ROW_BYTES] === TABLES.input.number && rest === UUID_BYTES) {
    return { table: "input", runtimeId, inputId: trailingUuid(key) };
  }
  if (key[SPACE_ROW_BYTES] === TABLES.receipt.number && rest === UUID_BYTES + 8) {
    return { table: "receipt", runtimeId, ...trailingReceipt(key) };
  }
  return undefined;
}

/**
 * Returns the runtime id in a key of the runtimes' space or in a pointer's key, as bytes in text form. Keys of the same runtime
 * have the same text. Undefined for a key of another kind, and for one without a complete runtime id.
 */
export function runtimeIdText(key: Buffer): string | undefined {
  const isPointer = key[0] === ROW_SPACES && key[1] === ROW_SPACE_KEYS.pointer;
  if (key[0] !== RUNTIMES && !isPointer) return undefined;
  const start = isPointer ? 2 : 1;
  try {
    return key.toString("latin1", start, parseRuntimeIdKey(key, start).end);
  } catch {
    return undefined;
  }
}

/** Returns the keys of the pointer and of the garbage record of the default row space that a row's key belongs to. */
export function keysOfDefaultRowSpace(key: Buffer): { readonly pointer: Buffer; readonly garbage: Buffer } {
  const id = key.subarray(1, parseRuntimeIdKey(key, 1).end);
  return {
    pointer: Buffer.concat([Buffer.of(ROW_SPACES, ROW_SPACE_KEYS.pointer), id]),
    garbage: Buffer.concat([rowSpaceKey("garbage", DEFAULT_ROW_SPACE), id]),
  };
}

/** Whether a key is that of a row in a default row space. */
export function isInDefaultRowSpace(key: Buffer): boolean {
  if (key[0] !== RUNTIMES) return false;
  const { table } = parseRuntimeKey(key);
  return table === TABLES.input.number || table === TABLES.receipt.number;
}
