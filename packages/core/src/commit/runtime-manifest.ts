import type { Row, Table } from "../engine.js";
import { expectForm } from "./row.js";
import { bufferOf } from "../bytes.js";

/** The tables whose rows a runtime's head counts, in the order of its form. Append only. */
export const COUNTED_TABLES = ["snapshot", "lifecycle", "ops", "input", "receipt"] as const satisfies readonly Table[];
export type CountedTable = (typeof COUNTED_TABLES)[number];

/** What one table holds: the number of its rows, and the sum of their checksums modulo 2^32. */
export interface TableDigest {
  readonly rows: number;
  readonly sum: number;
}

/**
 * What a runtime holds, table by table. It is kept in every commit, so that a list load finds a row that vanished and
 * not only one that changed.
 */
export interface RuntimeManifest extends Readonly<Record<CountedTable, TableDigest>> {
  /** Of the last commit that wrote an input row; 0: there never was one. */
  readonly inputsSequence: number;
}

const NOTHING: TableDigest = { rows: 0, sum: 0 };
export const EMPTY_RUNTIME_MANIFEST: RuntimeManifest = {
  snapshot: NOTHING,
  lifecycle: NOTHING,
  ops: NOTHING,
  input: NOTHING,
  receipt: NOTHING,
  inputsSequence: 0,
};

const FORM = 1;
const ENTRY = 8;
const INPUTS_SEQUENCE_AT = 1 + COUNTED_TABLES.length * ENTRY;
const HEAD_BYTES = INPUTS_SEQUENCE_AT + 8;

export const isCountedTable = (table: Table): table is CountedTable =>
  (COUNTED_TABLES as readonly Table[]).includes(table);

export const isEmptyRuntimeManifest = (head: RuntimeManifest): boolean =>
  COUNTED_TABLES.every((table) => head[table].rows === 0);

/** A head of one's own, to be changed. Member by member: every commit does this. */
export const copyRuntimeManifest = ({
  snapshot,
  lifecycle,
  ops,
  input,
  receipt,
  inputsSequence,
}: RuntimeManifest): { -readonly [Member in keyof RuntimeManifest]: RuntimeManifest[Member] } => ({
  snapshot,
  lifecycle,
  ops,
  input,
  receipt,
  inputsSequence,
});

/** The tally after one row became another. */
export const updateDigest = (
  { rows, sum }: TableDigest,
  before: Row | undefined,
  after: Row | undefined,
): TableDigest => ({
  // What another program wrote into a shared database was never counted when it goes.
  rows: Math.max(0, rows + (after ? 1 : 0) - (before ? 1 : 0)),
  sum: (sum + (after?.checksum ?? 0) - (before?.checksum ?? 0)) >>> 0,
});

export function encodeRuntimeManifest(head: RuntimeManifest): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES);
  bytes[0] = FORM;
  COUNTED_TABLES.forEach((table, index) => {
    bytes.writeUInt32LE(head[table].rows, 1 + index * ENTRY);
    bytes.writeUInt32LE(head[table].sum, 5 + index * ENTRY);
  });
  bytes.writeDoubleLE(head.inputsSequence, INPUTS_SEQUENCE_AT);
  return bytes;
}

export function decodeRuntimeManifest(value: Uint8Array): RuntimeManifest {
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  const tally = (table: CountedTable): TableDigest => {
    const at = 1 + COUNTED_TABLES.indexOf(table) * ENTRY;
    return { rows: bytes.readUInt32LE(at), sum: bytes.readUInt32LE(at + 4) };
  };
  return {
    snapshot: tally("snapshot"),
    lifecycle: tally("lifecycle"),
    ops: tally("ops"),
    input: tally("input"),
    receipt: tally("receipt"),
    inputsSequence: bytes.readDoubleLE(INPUTS_SEQUENCE_AT),
  };
}
