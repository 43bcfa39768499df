import { crc32 } from "node:zlib";
import type { SessionProfile } from "@bolthole/contract";
import { readMachineLifecycleRecord, writeMachineLifecycle } from "@bolthole/json";
import { decodeLifecycleRecord, encodeStoredLifecycleRecord } from "@bolthole/contract/wire";
import {
  type Row,
  type RowKey,
  type StagedDocument,
  bufferOf,
  decodeSnapshotFacts,
  encodeSnapshotFacts,
  externalRow,
  ownOrExternalRow,
} from "@bolthole/core";
import type { ReferenceKey } from "./reference-place.js";

/** What we keep of a row: the commit that wrote it, and the value where the reference has no place for it. */
export interface Note {
  readonly sequence: number;
  readonly checksum: number;
  readonly value: Buffer | undefined;
}

/** A row that is among our notes alone. */
export const rowOf = ({ sequence, checksum, value }: Note): Row => ({
  sequence,
  checksum,
  value: value ?? Buffer.of(),
});

/** The row over what is in a table of the reference, and what we noted of it. */
export function rowFrom(key: ReferenceKey, blob: Buffer, note: Note | undefined): Row {
  switch (key.table) {
    case "snapshot": {
      const profile = notedProfile(note);
      const facts = { length: blob.length, crc32: crc32(blob) };
      const own = ownOrExternalRow(key, Buffer.from(encodeSnapshotFacts({ ...facts, profile })), note);
      // What somebody else wrote is a session of theirs.
      if (own.sequence === note?.sequence || profile === "session") return own;
      return externalRow(key, encodeSnapshotFacts({ ...facts, profile: "session" }));
    }
    case "lifecycle": {
      const kept = note?.value && lifecycleToJson(note.value).equals(blob) ? note.value : undefined;
      const record = kept ?? lifecycleFromJson(blob);
      // No record at all: a row whose checksum cannot fit, so that its reader names it.
      if (!record) return { ...externalRow(key, blob), checksum: -1 };
      return ownOrExternalRow(key, record, note);
    }
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return ownOrExternalRow(key, blob, note);
  }
}

/** The profile of our note. A note that cannot be read fits no row, so the row counts as one of another program. */
function notedProfile(note: Note | undefined): SessionProfile {
  try {
    return note?.value ? decodeSnapshotFacts(note.value).profile : "session";
  } catch {
    return "session";
  }
}

/** What goes into the reference's table. */
export function blobOf(key: ReferenceKey, row: Row, document: StagedDocument | undefined): Buffer {
  switch (key.table) {
    case "snapshot":
      return (document as WholeDocument).content;
    case "lifecycle":
      return lifecycleToJson(row.value);
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return bufferOf(row.value);
  }
}

/** A document on its way into the database: the reference keeps it in one value. */
export interface WholeDocument extends StagedDocument {
  readonly content: Buffer;
}

/** What the reference's table does not say: all of our own rows, and members that its JSON has no place for. */
export function noteValue(key: RowKey, row: Row): Buffer | null {
  switch (key.table) {
    case "outcome":
    case "storeManifest":
    case "runtimeManifest":
    case "snapshot":
      return bufferOf(row.value);
    case "lifecycle": {
      const record = bufferOf(row.value);
      return lifecycleFromJson(lifecycleToJson(record))?.equals(record) ? null : record;
    }
    case "ops":
    case "input":
    case "receipt":
    case "oauth":
      return null;
  }
}

/** The reference's JSON of a lifecycle record, which core keeps as it travels. */
const lifecycleToJson = (record: Uint8Array): Buffer => writeMachineLifecycle(decodeLifecycleRecord(record));

/** Undefined: no record with a version and a state, as the reference's own loader says too. */
function lifecycleFromJson(json: Uint8Array): Buffer | undefined {
  try {
    return Buffer.from(encodeStoredLifecycleRecord(readMachineLifecycleRecord(json)));
  } catch {
    return undefined;
  }
}
