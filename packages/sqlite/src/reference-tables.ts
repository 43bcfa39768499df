import { crc32 } from "node:zlib";
import type { SessionProfile } from "@bolthole/contract";
import { decodeLifecycleRecord, encodeStoredLifecycleRecord } from "@bolthole/contract/wire";
import {
  type KeyOf,
  type Row,
  type RowKey,
  type StagedDocument,
  bufferOf,
  decodeSnapshotFacts,
  encodeSnapshotFacts,
  externalRow,
  ownOrExternalRow,
} from "@bolthole/core";
import { readMachineLifecycleRecord, writeMachineLifecycle } from "@bolthole/json";
import type { Value } from "./connection.js";

/*
 * The tables of the reference (contract 13.1), and how rows of core are stored in them. A table of the reference has key
 * columns and one value column. A value that it has no column for is stored in a note: a row of our own table `bolthole_rows`.
 */

/** The keys of the rows that are stored in a table of the reference. */
export type ReferenceKey = KeyOf<"snapshot" | "lifecycle" | "ops" | "input" | "receipt" | "oauth">;
export type ReferenceTable = ReferenceKey["table"];

/** A table of the reference: its name and columns. */
export interface TableColumns {
  readonly table: string;
  readonly keys: readonly string[];
  readonly value: string;
}

/** The table of the reference for each kind of row (contract 13.1). */
export const REFERENCE_TABLES: Readonly<Record<ReferenceTable, TableColumns>> = {
  snapshot: { table: "runtime_session_snapshots", keys: ["runtime_id"], value: "session_snapshot" },
  lifecycle: { table: "runtime_states", keys: ["runtime_id"], value: "runtime_state_json" },
  ops: { table: "runtime_ops_lifecycle", keys: ["runtime_id"], value: "state_json" },
  input: { table: "runtime_input_states", keys: ["runtime_id", "input_id"], value: "state_json" },
  receipt: {
    table: "runtime_boundary_receipts",
    keys: ["runtime_id", "run_id", "sequence"],
    value: "receipt_json",
  },
  oauth: { table: "runtime_auth_oauth_flow_state", keys: ["id"], value: "state_json" },
};

/** The tables that have rows of runtimes. */
export const RUNTIME_TABLES: readonly TableColumns[] = Object.values(REFERENCE_TABLES).filter(
  ({ keys }) => keys[0] === "runtime_id",
);

export const isReferenceKey = (key: RowKey): key is ReferenceKey => key.table in REFERENCE_TABLES;

/** The id of the only row in the reference's OAuth table. */
export const OAUTH_ID = "auth_oauth_flow_state";
const MAX_SEQUENCE = 2n ** 63n - 1n;

/** Limits a receipt sequence to the largest integer of SQLite, as the reference does (contract 4.3). */
export const clamped = (sequence: bigint): bigint => (sequence > MAX_SEQUENCE ? MAX_SEQUENCE : sequence);

/** Returns the values of the key columns, in the order of `TableColumns.keys`. */
export function keyColumns(key: ReferenceKey): (string | bigint)[] {
  switch (key.table) {
    case "input":
      return [key.runtimeId, key.inputId];
    case "receipt":
      return [key.runtimeId, key.runId, clamped(key.sequence)];
    case "oauth":
      return [OAUTH_ID];
    case "snapshot":
    case "lifecycle":
    case "ops":
      return [key.runtimeId];
  }
}

/** A row of our own table: the commit that wrote a row of core, and the value that the reference has no column for. */
export interface Note {
  readonly sequence: number;
  readonly checksum: number;
  readonly value: Buffer | undefined;
}

/** A document on its way into the database, where it becomes one blob. */
export interface StagedBlob extends StagedDocument {
  readonly content: Buffer;
}

/** Returns a row that is stored in a note alone. */
export const rowOf = ({ sequence, checksum, value }: Note): Row => ({
  sequence,
  checksum,
  value: value ?? Buffer.of(),
});

/**
 * Returns the row for a blob in a table of the reference and its note. If the note does not match the blob, another
 * program wrote the blob: then it is an external row.
 */
export function rowFrom(key: ReferenceKey, blob: Buffer, note: Note | undefined): Row {
  switch (key.table) {
    case "snapshot": {
      const profile = notedProfile(note);
      const facts = { length: blob.length, crc32: crc32(blob) };
      const own = ownOrExternalRow(key, Buffer.from(encodeSnapshotFacts({ ...facts, profile })), note);
      if (own.sequence === note?.sequence || profile === "session") return own;
      // The profile belongs to the snapshot that was replaced. Another program writes only sessions.
      return externalRow(key, encodeSnapshotFacts({ ...facts, profile: "session" }));
    }
    case "lifecycle": {
      const stored = note?.value && lifecycleToJson(note.value).equals(blob) ? note.value : undefined;
      const record = stored ?? lifecycleFromJson(blob);
      if (Buffer.isBuffer(record)) return ownOrExternalRow(key, record, note);
      // A checksum that never matches makes the reader report the row.
      return { ...externalRow(key, blob), checksum: -1, problem: `cannot be read: ${record.why}` };
    }
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return ownOrExternalRow(key, blob, note);
  }
}

/** Returns the profile of a note. A note that cannot be read matches no row, so the row counts as an external row. */
function notedProfile(note: Note | undefined): SessionProfile {
  try {
    return note?.value ? decodeSnapshotFacts(note.value).profile : "session";
  } catch {
    return "session";
  }
}

/** Returns the blob of a row for the reference's table. `document` belongs to a snapshot row. */
export function blobOf(key: ReferenceKey, row: Row, document: StagedDocument | undefined): Buffer {
  switch (key.table) {
    case "snapshot":
      return (document as StagedBlob).content;
    case "lifecycle":
      return lifecycleToJson(row.value);
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return bufferOf(row.value);
  }
}

/**
 * Returns the value for the note of a row: the whole value for rows that the reference does not have, and a lifecycle
 * record with fields that its JSON has no member for.
 */
export function noteValue(key: RowKey, row: Row): Buffer | null {
  switch (key.table) {
    case "outcome":
    case "storeManifest":
    case "runtimeManifest":
    case "snapshot":
      return bufferOf(row.value);
    case "lifecycle": {
      const record = bufferOf(row.value);
      const converted = lifecycleFromJson(lifecycleToJson(record));
      return Buffer.isBuffer(converted) && converted.equals(record) ? null : record;
    }
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return null;
  }
}

/** Returns the reference's JSON of a lifecycle record. Core stores the record in its wire form. */
const lifecycleToJson = (record: Uint8Array): Buffer => writeMachineLifecycle(decodeLifecycleRecord(record));

/** Converts JSON to a record. `why` says what is wrong with JSON that has no version or no state; the reference refuses it, too. */
function lifecycleFromJson(json: Uint8Array): Buffer | { readonly why: string } {
  try {
    return Buffer.from(encodeStoredLifecycleRecord(readMachineLifecycleRecord(json)));
  } catch (error) {
    return { why: (error as Error).message };
  }
}

/** Converts a column to bytes. The reference writes only blobs; a text that another program wrote is read as UTF-8. */
export const bytesOf = (value: Value | undefined): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(String(value ?? ""), "utf8");
