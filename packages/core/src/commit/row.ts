import { crc32 } from "node:zlib";
import type { InputId, RunId, RuntimeId, Version } from "@bolthole/contract";
import { StoreError, readFailed } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";

/**
 * Names one row. The manifests are rows of the store itself: they count the rows of a runtime, and those of the whole store.
 * An engine may keep each table in its own form. It never interprets a value.
 */
export type RowKey =
  | { readonly table: "snapshot"; readonly runtimeId: RuntimeId }
  | { readonly table: "lifecycle"; readonly runtimeId: RuntimeId }
  | { readonly table: "ops"; readonly runtimeId: RuntimeId }
  | { readonly table: "runtimeManifest"; readonly runtimeId: RuntimeId }
  | { readonly table: "input"; readonly runtimeId: RuntimeId; readonly inputId: InputId }
  | { readonly table: "receipt"; readonly runtimeId: RuntimeId; readonly runId: RunId; readonly sequence: bigint }
  | { readonly table: "outcome"; readonly requestId: string }
  | { readonly table: "oauth" }
  | { readonly table: "storeManifest" };
export type Table = RowKey["table"];
export type KeyOf<T extends Table> = Extract<RowKey, { readonly table: T }>;
/** The key of a row that may have a document: bytes of any length, which an engine keeps beside the value. */
export type DocumentRowKey = KeyOf<"snapshot" | "ops">;
/** The key of a row of a row set: the input rows and receipts of one runtime, whose number has no limit. */
export type RowSetKey = KeyOf<"input" | "receipt">;

export interface Row {
  /** The sequence of the commit that wrote the row. */
  readonly sequence: number;
  /** A checksum of table, key, sequence and value. Core makes and verifies it. */
  readonly checksum: number;
  readonly value: Uint8Array;
  /**
   * Why an engine could not convert the stored record to a row. Such a row matches no checksum. It continues a sentence that
   * begins with the row's name.
   */
  readonly problem?: string | undefined;
}

/** Returns a key as text, different for different keys: for checksums, and for maps in memory. */
export function keyText(key: RowKey): string {
  switch (key.table) {
    case "input":
      return `input ${key.inputId} ${key.runtimeId}`;
    case "receipt":
      return `receipt ${key.runId} ${key.sequence.toString()} ${key.runtimeId}`;
    case "outcome":
      return `outcome ${key.requestId}`;
    case "oauth":
      return key.table;
    // Checksums on the disk cover the older names of these two tables.
    case "storeManifest":
      return "tally";
    case "runtimeManifest":
      return `head ${key.runtimeId}`;
    case "snapshot":
    case "lifecycle":
    case "ops":
      return `${key.table} ${key.runtimeId}`;
  }
}

/** The order of the tables in `compareKeys`. It is not stored anywhere. */
const ORDER: Record<Table, number> = {
  storeManifest: 0,
  oauth: 1,
  outcome: 2,
  runtimeManifest: 3,
  snapshot: 4,
  lifecycle: 5,
  ops: 6,
  input: 7,
  receipt: 8,
};

const compare = (a: string | bigint, b: string | bigint): number => (a < b ? -1 : a > b ? 1 : 0);

/** Orders keys by table, runtime and the rest. Returns 0 for two keys of the same row. */
export function compareKeys(a: RowKey, b: RowKey): number {
  const tables = ORDER[a.table] - ORDER[b.table];
  if (tables !== 0) return tables;
  if (a.table === "outcome" && b.table === "outcome") return compare(a.requestId, b.requestId);
  if (!("runtimeId" in a) || !("runtimeId" in b)) return 0;
  const runtimes = compare(a.runtimeId, b.runtimeId);
  if (runtimes !== 0) return runtimes;
  if (a.table === "input" && b.table === "input") return compare(a.inputId, b.inputId);
  if (a.table === "receipt" && b.table === "receipt") {
    return compare(a.runId, b.runId) || compare(a.sequence, b.sequence);
  }
  return 0;
}

export const isDocumentRowKey = (key: RowKey): key is DocumentRowKey => key.table === "snapshot" || key.table === "ops";

/** Returns the name of a row for people, without the id of its runtime. */
export function describeKey(key: RowKey): string {
  switch (key.table) {
    case "input":
      return `input state ${key.inputId}`;
    case "receipt":
      return `boundary receipt ${key.runId} ${key.sequence.toString()}`;
    case "outcome":
      return `request outcome ${key.requestId}`;
    case "snapshot":
      return "session snapshot";
    case "lifecycle":
      return "machine lifecycle record";
    case "ops":
      return "operation snapshot";
    case "oauth":
      return "OAuth flow snapshot";
    case "runtimeManifest":
      return "runtime manifest";
    case "storeManifest":
      return "store manifest";
  }
}

/** Returns the version of a row, `<epoch>.<sequence>`, from the sequence of its commit. Callers compare versions only for equality. */
export const versionText = (epoch: string, sequence: number): Version => `${epoch}.${String(sequence)}`;

/** Returns the sequence of the commit that a version names, or undefined when the version is not one of this store. */
export function sequenceOf(epoch: string, version: Version): number | undefined {
  if (!version.startsWith(`${epoch}.`)) return undefined;
  const sequence = Number(version.slice(epoch.length + 1));
  return versionText(epoch, sequence) === version ? sequence : undefined;
}

/** Returns the checksum of a row of this key. */
export const checksumOf = (key: RowKey, sequence: number, value: Uint8Array): number =>
  crc32(value, crc32(`${keyText(key)} ${String(sequence)}`));

export const makeRow = (key: RowKey, sequence: number, value: Uint8Array): Row => ({
  sequence,
  checksum: checksumOf(key, sequence, value),
  value,
});

/** Whether a row matches its checksum. */
export const isVerified = (key: RowKey, row: Row): boolean => checksumOf(key, row.sequence, row.value) === row.checksum;

/**
 * Whether a row is the one that was read before. Every commit to a runtime writes its manifest, and none is possible while the
 * manifest is damaged. A damaged sequence may be any number, also NaN.
 */
export const isSameRow = (one: Row | undefined, other: Row | undefined): boolean =>
  Object.is(one?.sequence, other?.sequence) && one?.checksum === other?.checksum;

/** Returns the value of a row, or throws DAMAGED_RECORD when the row does not match its checksum. */
export function verifiedValue(key: RowKey, row: Row): Uint8Array {
  if (!isVerified(key, row)) throw damaged(key, row.problem ?? "does not match its checksum");
  return row.value;
}

/** Returns the decoded value of a row, or throws DAMAGED_RECORD when the row does not match its checksum or its form. */
export function decodeRow<T>(key: RowKey, row: Row, decode: (value: Uint8Array, row: Row) => T): T {
  return decodeValue(key, verifiedValue(key, row), (value) => decode(value, row));
}

/** Returns a decoded value, or throws DAMAGED_RECORD when it does not match its form. */
export function decodeValue<T>(key: RowKey, value: Uint8Array, decode: (value: Uint8Array) => T): T {
  try {
    return decode(value);
  } catch (cause) {
    throw unreadable(key, cause);
  }
}

/** Decodes a row as `decodeRow` does, with a conversion that takes some time. */
export async function decodeRowLater<T>(key: RowKey, row: Row, decode: (value: Uint8Array) => Promise<T>): Promise<T> {
  const value = verifiedValue(key, row);
  try {
    return await decode(value);
  } catch (cause) {
    throw cause instanceof StoreError ? cause : unreadable(key, cause);
  }
}

/** Returns the DAMAGED_RECORD error of a row. `problem` continues a sentence that begins with the row's name. */
export function damaged(key: RowKey, problem: string, cause?: unknown): Error {
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  return readFailed("DAMAGED_RECORD", `stored ${describeKey(key)} ${problem}`, {
    runtimeId,
    record: describeKey(key),
    cause,
  });
}

/** The bytes of a value do not have the form of their table. */
export class UnknownFormError extends Error {
  override readonly name = "UnknownFormError";

  constructor(member: string, expected: string, found: number | undefined) {
    super(`expected ${expected} as its ${member}, found ${found === undefined ? "no byte" : String(found)}`);
  }
}

/** Throws `UnknownFormError` unless a value begins with the byte of its form. */
export function expectForm(value: Uint8Array, form: number): void {
  if (value[0] !== form) throw new UnknownFormError("form", String(form), value[0]);
}

/** Returns the error of a value that cannot be decoded. The text of a rule of the reference is kept (contract 11.3). */
function unreadable(key: RowKey, cause: unknown): Error {
  if (cause instanceof UnknownFormError) return damaged(key, `cannot be read: ${cause.message}`, cause);
  if (!(cause instanceof JsonError)) return damaged(key, "cannot be read", cause);
  if (!cause.isRule) return damaged(key, `cannot be read: ${cause.message}`, cause);
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  return readFailed("DAMAGED_RECORD", cause.message, { runtimeId, record: describeKey(key), cause });
}

/** Names one row of a `ReadSet`. */
export interface RowHandle<K extends RowKey = RowKey> {
  readonly key: K;
  /** The position of the row in the set. Only engines use it; rules name rows by their handles. */
  readonly index: number;
}

/** The rows of a `ReadSet` as they were read. */
export interface RowReader {
  get(handle: RowHandle): Row | undefined;
}

/** The largest set of rows in which comparing keys one by one is faster than a map of their texts. */
const SEARCHED_ROWS = 16;

/**
 * The rows that a write batch reads, and that it may write. A row that is added again gets the handle that it has already, so
 * that no row can be written under two names.
 */
export class ReadSet {
  private readonly list: RowHandle[] = [];
  private byText: Map<string, RowHandle> | undefined;

  get handles(): readonly RowHandle[] {
    return this.list;
  }

  add<K extends RowKey>(key: K): RowHandle<K> {
    const known = this.find(key);
    if (known) return known as RowHandle<K>;
    const handle = { key, index: this.list.length };
    this.list.push(handle);
    this.byText?.set(keyText(key), handle);
    return handle;
  }

  private find(key: RowKey): RowHandle | undefined {
    if (this.list.length <= SEARCHED_ROWS) {
      for (const one of this.list) if (one.key.table === key.table && compareKeys(one.key, key) === 0) return one;
      return undefined;
    }
    this.byText ??= new Map(this.list.map((one) => [keyText(one.key), one]));
    return this.byText.get(keyText(key));
  }
}

/** Rows in the order of their read set. */
export class ReadRows implements RowReader {
  constructor(private readonly rows: readonly { readonly row: Row | undefined }[]) {}

  get({ key, index }: RowHandle): Row | undefined {
    const found = this.rows[index];
    if (!found) throw new RangeError(`the batch did not read the row ${keyText(key)}`);
    return found.row;
  }
}
