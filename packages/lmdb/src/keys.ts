import { hash } from "node:crypto";
import type { KeyOf, RowKey, Table } from "@bolthole/core";
import { uuidFromBytes, uuidToBytes } from "@bolthole/json";

/*
 * Every key on the disk starts with its space:
 *
 *   1  the store:     number of the table, then the rest of the key
 *   2  the runtimes:  the runtime's id, number of the table, the rest of the key
 *   4  the documents: a kind of `DOCUMENT_KEYS`, then the rest of the key
 *
 * All rows of one runtime lie together, its head first, so that a commit touches few pages. Space 3 had the documents of
 * format 1.
 */
const STORE = 1;
const RUNTIMES = 2;
const DOCUMENTS = 4;

interface TableForm {
  readonly number: number;
  readonly space: typeof STORE | typeof RUNTIMES;
  /** The format version that brought the table. */
  readonly since: number;
}

/** Every table on the disk. A number is never used again. */
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

/** The number of the last commit; in the store's space, beside the tables. */
export const SEQUENCE_KEY = Buffer.from([STORE, 0]);
/** Store id and epoch, as JSON text. */
export const IDENTITY_KEY = Buffer.from([STORE, 0, 1]);
/** The next free node id; in the store's space too. */
export const NODE_ID_KEY = Buffer.from([STORE, 0, 2]);

/** What the documents' space holds, each under a number (6 bytes). A kind is never used again. */
export const DOCUMENT_KEYS = {
  /** A node of a document's tree, under its id. */
  node: 1,
  /** How often a node is named, under its id; only when that is twice or more. */
  count: 2,
  /** What is to be reclaimed since a commit, under its number and the record's index (4 bytes). */
  garbage: 3,
  /** The nodes of a document that no commit has taken yet, under the first one's id. */
  staging: 4,
} as const;
export type DocumentKey = keyof typeof DOCUMENT_KEYS;

/** Longer ids, once escaped, are kept under their hash; LMDB takes keys of at most 1,978 bytes. */
const MAX_PLAIN_ID = 1024;
/** No UTF-8 text has this byte: hashed ids never meet plain ones, and come last. */
const HASHED = 0xff;
const HASHED_BYTES = 33;

/** Short ones are told without a look at their key: escaping can at most double an id. */
export const isHashedId = (runtimeId: string): boolean =>
  runtimeId.length * 6 > MAX_PLAIN_ID && runtimeIdKey(runtimeId)[0] === HASHED;

/**
 * A runtime id as a part of a key: a zero byte becomes `00 FF` and the end is `00 01`, so that ids sort by their bytes and
 * none is the beginning of another.
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

/** The plain id at the beginning of a key's part, or nothing for a hashed one; and where the part ends. */
function parseRuntimeIdKey(key: Buffer, start: number): { id: string | undefined; end: number } {
  if (key[start] === HASHED) return { id: undefined, end: start + HASHED_BYTES };
  let end = start;
  while (!(key[end] === 0 && key[end + 1] === 1)) {
    end += key[end] === 0 ? 2 : 1;
    if (end >= key.length) throw new RangeError("a runtime id in a key has no end");
  }
  const plain = key.subarray(start, end);
  const bytes = plain.includes(0) ? Buffer.from(plain.toString("latin1").replaceAll("\0\xff", "\0"), "latin1") : plain;
  return { id: bytes.toString("utf8"), end: end + 2 };
}

/** The key of a runtime's row, with `rest` bytes behind it for the caller to fill. */
function runtimeKey(runtimeId: string, table: Table, rest: number): Buffer {
  const id = runtimeIdKey(runtimeId);
  const key = Buffer.allocUnsafe(2 + id.length + rest);
  key[0] = RUNTIMES;
  key.set(id, 1);
  key[1 + id.length] = TABLES[table].number;
  return key;
}

const runtimePrefix = (runtimeId: string, table: Table): Buffer => runtimeKey(runtimeId, table, 0);

export function encodeKey(key: RowKey): Buffer {
  switch (key.table) {
    case "storeManifest":
    case "oauth":
      return Buffer.of(STORE, TABLES[key.table].number);
    case "outcome":
      return Buffer.concat([Buffer.of(STORE, TABLES.outcome.number), uuidToBytes(key.requestId)]);
    case "input":
      return withUuid(runtimeKey(key.runtimeId, "input", UUID_BYTES), key.inputId, UUID_BYTES);
    case "receipt": {
      const bytes = withUuid(runtimeKey(key.runtimeId, "receipt", UUID_BYTES + 8), key.runId, UUID_BYTES + 8);
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

function withUuid(key: Buffer, uuid: string, fromEnd: number): Buffer {
  key.set(uuidToBytes(uuid), key.length - fromEnd);
  return key;
}

/** The first key of a range, the key that ends it, and the first one after a given row. */
export interface Bounds {
  readonly start: Buffer;
  readonly end: Buffer;
}

/** Just after every key that begins with these bytes. */
const after = (prefix: Buffer): Buffer => Buffer.concat([prefix, Buffer.of(0xff)]);

export function inputBounds(runtimeId: string, afterId: string | undefined): Bounds {
  const prefix = runtimePrefix(runtimeId, "input");
  const start = afterId === undefined ? prefix : Buffer.concat([prefix, uuidToBytes(afterId), Buffer.of(0)]);
  return { start, end: runtimePrefixEnd(prefix) };
}

export function receiptBounds(
  runtimeId: string,
  after: Pick<KeyOf<"receipt">, "runId" | "sequence"> | undefined,
): Bounds {
  const prefix = runtimePrefix(runtimeId, "receipt");
  const start = after ? Buffer.concat([encodeKey({ table: "receipt", runtimeId, ...after }), Buffer.of(0)]) : prefix;
  return { start, end: runtimePrefixEnd(prefix) };
}

/** The run and the sequence at the end of a receipt's key. */
export const trailingReceipt = (key: Buffer): Pick<KeyOf<"receipt">, "runId" | "sequence"> => ({
  runId: uuidFromBytes(key.subarray(key.length - UUID_BYTES - 8, key.length - 8)),
  sequence: key.readBigUInt64BE(key.length - 8),
});

/** The last byte of the prefix is a table's number, so the next number ends its range. */
function runtimePrefixEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

export function outcomeBounds(afterId: string | undefined): Bounds {
  const prefix = Buffer.of(STORE, TABLES.outcome.number);
  const start = afterId === undefined ? prefix : Buffer.concat([prefix, uuidToBytes(afterId), Buffer.of(0)]);
  return { start, end: Buffer.of(STORE, TABLES.outcome.number + 1) };
}

/** Everything of the runtimes that come after this one. */
export function runtimeBounds(afterRuntime: string | undefined): Bounds {
  const start =
    afterRuntime === undefined
      ? Buffer.of(RUNTIMES)
      : after(Buffer.concat([Buffer.of(RUNTIMES), runtimeIdKey(afterRuntime)]));
  return { start, end: Buffer.of(RUNTIMES + 1) };
}

/** The plain runtime id that a key of the runtimes' space is about (nothing: it is hashed), and its table. */
export function parseRuntimeKey(key: Buffer): { runtimeId: string | undefined; table: number; afterRuntime: Buffer } {
  const { id, end } = parseRuntimeIdKey(key, 1);
  return { runtimeId: id, table: key[end] ?? -1, afterRuntime: after(key.subarray(0, end)) };
}

/** Whether a key of the runtimes' space is of this runtime: a damaged key, or a damaged id beside a hashed one, is not. */
export const isOfRuntime = (key: Buffer, runtimeId: string): boolean => {
  const id = runtimeIdKey(runtimeId);
  return id.equals(key.subarray(1, 1 + id.length));
};

/** The row that a key of the store's or the runtimes' space names; nothing when it names none. */
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

/** Everything that is a row: the store's own first, then runtime after runtime, each head before the rest. */
export const rowBounds = (): Bounds => ({ start: Buffer.of(STORE, 1), end: Buffer.of(RUNTIMES + 1) });

/** Where the snapshot row of the runtime lies that a key is about. */
export function snapshotKeyBeside(key: Buffer): Buffer {
  const { end } = parseRuntimeIdKey(key, 1);
  return Buffer.concat([key.subarray(0, end), Buffer.of(TABLES.snapshot.number)]);
}

/** The UUID at the end of an input's or an outcome's key. */
export const trailingUuid = (key: Buffer): string => uuidFromBytes(key.subarray(key.length - 16));

const NUMBER_AT = 2;
const NUMBER_BYTES = 6;

export function documentKey(kind: DocumentKey, number: number): Buffer {
  const key = Buffer.allocUnsafe(NUMBER_AT + NUMBER_BYTES);
  key[0] = DOCUMENTS;
  key[1] = DOCUMENT_KEYS[kind];
  key.writeUIntBE(number, NUMBER_AT, NUMBER_BYTES);
  return key;
}

export const garbageKey = (sequence: number, index: number): Buffer => {
  const rest = Buffer.allocUnsafe(4);
  rest.writeUInt32BE(index);
  return Buffer.concat([documentKey("garbage", sequence), rest]);
};

/** Everything of one kind, from a number on. */
export const documentBounds = (kind: DocumentKey, from = 0): Bounds => ({
  start: documentKey(kind, from),
  end: Buffer.of(DOCUMENTS, DOCUMENT_KEYS[kind] + 1),
});

/** The number in a key of the documents' space. */
export const numberOf = (key: Buffer): number => key.readUIntBE(NUMBER_AT, NUMBER_BYTES);
