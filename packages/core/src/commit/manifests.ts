import { bufferOf } from "../bytes.js";
import { type KeyOf, type Row, type Table, UnknownFormError, decodeRow, expectForm } from "./row.js";
import type { StoredTimes } from "./store-time.js";

/*
 * Manifests count the rows of a runtime, and the rows of the store that belong to no runtime. Every commit keeps them up to
 * date, so that a row that vanished is found, and not only a row that changed.
 */

/** The number of the rows of one table, and the sum of their checksums modulo 2^32. */
export interface TableDigest {
  readonly rows: number;
  readonly sum: number;
}

/** The digest of a table without rows. */
export const NO_ROWS: TableDigest = { rows: 0, sum: 0 };

/** The checksum with which a row is counted. */
export type Counted = Pick<Row, "checksum">;

/** Returns the digest after one row was replaced by another. */
export const updateDigest = (
  { rows, sum }: TableDigest,
  before: Counted | undefined,
  after: Counted | undefined,
): TableDigest => ({
  // An external row was never counted, but may be deleted.
  rows: Math.max(0, rows + (after ? 1 : 0) - (before ? 1 : 0)),
  sum: (sum + (after?.checksum ?? 0) - (before?.checksum ?? 0)) >>> 0,
});

/** The tables whose rows a runtime manifest counts, in the order of its form. Append only. */
export const COUNTED_TABLES = ["snapshot", "lifecycle", "ops", "input", "receipt"] as const satisfies readonly Table[];
export type CountedTable = (typeof COUNTED_TABLES)[number];

/** The digest of each table of one runtime. */
export interface RuntimeManifest extends Readonly<Record<CountedTable, TableDigest>> {
  /** The sequence of the last commit that wrote an input row; 0 before the first one. */
  readonly inputsSequence: number;
}

export const EMPTY_RUNTIME_MANIFEST: RuntimeManifest = {
  snapshot: NO_ROWS,
  lifecycle: NO_ROWS,
  ops: NO_ROWS,
  input: NO_ROWS,
  receipt: NO_ROWS,
  inputsSequence: 0,
};

export const isCountedTable = (table: Table): table is CountedTable =>
  (COUNTED_TABLES as readonly Table[]).includes(table);

export const isEmptyRuntimeManifest = (manifest: RuntimeManifest): boolean =>
  COUNTED_TABLES.every((table) => manifest[table].rows === 0);

/** Whether two manifests of one runtime count the same input rows. Every write of an input row has another sequence. */
export const isSameInputs = (one: RuntimeManifest, other: RuntimeManifest): boolean =>
  one.inputsSequence === other.inputsSequence && isSameDigest(one.input, other.input);

/** Whether two manifests of one runtime count the same row set. */
export const isSameRowSet = (one: RuntimeManifest, other: RuntimeManifest): boolean =>
  isSameInputs(one, other) && isSameDigest(one.receipt, other.receipt);

export const isSameDigest = (one: TableDigest, other: TableDigest): boolean =>
  one.rows === other.rows && one.sum === other.sum;

/** Describes the difference of two digests, for a message that names their table. */
export const differenceText = (expected: TableDigest, found: TableDigest): string =>
  `expected ${digestText(expected)}, found ${digestText(found)}`;

const digestText = ({ rows, sum }: TableDigest): string => `${String(rows)} (sum of checksums ${String(sum)})`;

type Changeable<T> = { -readonly [Member in keyof T]: T[Member] };

/** Returns a copy that may be changed. It names the members one by one, because every commit calls it and a spread is much slower. */
export const copyRuntimeManifest = ({
  snapshot,
  lifecycle,
  ops,
  input,
  receipt,
  inputsSequence,
}: RuntimeManifest): Changeable<RuntimeManifest> => ({
  snapshot,
  lifecycle,
  ops,
  input,
  receipt,
  inputsSequence,
});

const RUNTIME_FORM = 1;
const DIGEST_BYTES = 8;
const INPUTS_SEQUENCE_AT = 1 + COUNTED_TABLES.length * DIGEST_BYTES;
const RUNTIME_MANIFEST_BYTES = INPUTS_SEQUENCE_AT + 8;

export function encodeRuntimeManifest(manifest: RuntimeManifest): Uint8Array {
  const bytes = Buffer.allocUnsafe(RUNTIME_MANIFEST_BYTES);
  bytes[0] = RUNTIME_FORM;
  COUNTED_TABLES.forEach((table, index) => {
    writeDigest(bytes, 1 + index * DIGEST_BYTES, manifest[table]);
  });
  bytes.writeDoubleLE(manifest.inputsSequence, INPUTS_SEQUENCE_AT);
  return bytes;
}

export function decodeRuntimeManifest(value: Uint8Array): RuntimeManifest {
  expectForm(value, RUNTIME_FORM);
  const bytes = bufferOf(value);
  return {
    snapshot: readDigest(bytes, 1),
    lifecycle: readDigest(bytes, 1 + DIGEST_BYTES),
    ops: readDigest(bytes, 1 + 2 * DIGEST_BYTES),
    input: readDigest(bytes, 1 + 3 * DIGEST_BYTES),
    receipt: readDigest(bytes, 1 + 4 * DIGEST_BYTES),
    inputsSequence: bytes.readDoubleLE(INPUTS_SEQUENCE_AT),
  };
}

function writeDigest(bytes: Buffer, at: number, { rows, sum }: TableDigest): void {
  bytes.writeUInt32LE(rows, at);
  bytes.writeUInt32LE(sum, at + 4);
}

const readDigest = (bytes: Buffer, at: number): TableDigest => ({
  rows: bytes.readUInt32LE(at),
  sum: bytes.readUInt32LE(at + 4),
});

/** The digests of the rows that belong to no runtime, and of the runtime manifests. */
export interface StoreManifest extends StoredTimes {
  readonly outcome: TableDigest;
  readonly oauth: TableDigest;
  /** All runtime manifests. It shows a runtime that vanished, or that was replaced by an older state of itself. */
  readonly runtimeManifest: TableDigest;
}

export const STORE_MANIFEST_KEY = { table: "storeManifest" } as const;

export const EMPTY_STORE_MANIFEST: StoreManifest = {
  outcome: NO_ROWS,
  oauth: NO_ROWS,
  runtimeManifest: NO_ROWS,
  horizonMs: 0,
  clockMs: 0,
};

/** Returns a copy that may be changed, in the same way as `copyRuntimeManifest`. */
export const copyStoreManifest = ({
  outcome,
  oauth,
  runtimeManifest,
  horizonMs,
  clockMs,
}: StoreManifest): Changeable<StoreManifest> => ({
  outcome,
  oauth,
  runtimeManifest,
  horizonMs,
  clockMs,
});

/** Form 1, which had no digest of the runtime manifests, was never released. */
const STORE_FORM = 3;
/** The form of version 0.1. It ends before the clock reading. */
const STORE_FORM_WITHOUT_CLOCK = 2;
const HORIZON_AT = 1 + 2 * DIGEST_BYTES;
const RUNTIME_MANIFESTS_AT = HORIZON_AT + 8;
const CLOCK_AT = RUNTIME_MANIFESTS_AT + DIGEST_BYTES;
const STORE_MANIFEST_BYTES = CLOCK_AT + 8;

export function encodeStoreManifest(manifest: StoreManifest): Uint8Array {
  const { outcome, oauth, runtimeManifest, horizonMs, clockMs } = manifest;
  const bytes = Buffer.allocUnsafe(STORE_MANIFEST_BYTES);
  bytes[0] = STORE_FORM;
  writeDigest(bytes, 1, outcome);
  writeDigest(bytes, 1 + DIGEST_BYTES, oauth);
  bytes.writeDoubleLE(horizonMs, HORIZON_AT);
  writeDigest(bytes, RUNTIME_MANIFESTS_AT, runtimeManifest);
  bytes.writeDoubleLE(clockMs, CLOCK_AT);
  return bytes;
}

export function decodeStoreManifest(value: Uint8Array): StoreManifest {
  const [form] = value;
  if (form !== STORE_FORM && form !== STORE_FORM_WITHOUT_CLOCK) throw new UnknownFormError("form", "2 or 3", form);
  const bytes = bufferOf(value);
  return {
    outcome: readDigest(bytes, 1),
    oauth: readDigest(bytes, 1 + DIGEST_BYTES),
    horizonMs: bytes.readDoubleLE(HORIZON_AT),
    runtimeManifest: readDigest(bytes, RUNTIME_MANIFESTS_AT),
    clockMs: form === STORE_FORM ? bytes.readDoubleLE(CLOCK_AT) : 0,
  };
}

/** Returns the manifest in a row. Without a row, no row of the runtime is counted. Throws DAMAGED_RECORD. */
export const runtimeManifestOf = (key: KeyOf<"runtimeManifest">, row: Row | undefined): RuntimeManifest =>
  row ? decodeRow(key, row, decodeRuntimeManifest) : EMPTY_RUNTIME_MANIFEST;

/** Returns the manifest in a row. Without a row, the store is new. Throws DAMAGED_RECORD. */
export const storeManifestOf = (row: Row | undefined): StoreManifest =>
  row ? decodeRow(STORE_MANIFEST_KEY, row, decodeStoreManifest) : EMPTY_STORE_MANIFEST;

/**
 * The difference between the runtime manifests that are stored and those that the store manifest counts, after one of them was
 * damaged or vanished. The number of rows may be below zero. Commits keep the difference: they only count their own changes.
 */
export interface ManifestCorrection {
  readonly rows: number;
  readonly sum: number;
}

export const NO_CORRECTION: ManifestCorrection = { rows: 0, sum: 0 };

/** Returns the correction of a store manifest, given the digest of all runtime manifests that are there. */
export const manifestCorrection = ({ runtimeManifest }: StoreManifest, found: TableDigest): ManifestCorrection => ({
  rows: found.rows - runtimeManifest.rows,
  sum: (found.sum - runtimeManifest.sum) >>> 0,
});

export function correctStoreManifest(manifest: StoreManifest, { rows, sum }: ManifestCorrection): StoreManifest {
  if (rows === 0 && sum === 0) return manifest;
  const { runtimeManifest: stored } = manifest;
  return { ...manifest, runtimeManifest: { rows: stored.rows + rows, sum: (stored.sum + sum) >>> 0 } };
}
