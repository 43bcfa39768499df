import { type Finding, StoreError } from "@bolthole/contract";
import { readOpsSnapshot, readReceipt } from "@bolthole/json";
import { decodeRuntimeManifest } from "../commit/runtime-manifest.js";
import { decodeOutcome } from "../commit/outcome.js";
import { decodeRow, describeKey, verifiedValue } from "../commit/row.js";
import { decodeStoreManifest } from "../commit/store-manifest.js";
import type { Row, RowKey } from "../engine.js";
import { readRow } from "../operations/input.js";
import { checkLifecycleRecord } from "../rules/lifecycle.js";
import { decodeSnapshotFacts } from "../documents/snapshot-facts.js";

/** What is wrong with a row in itself. Of values longer than `formBytes` the checksum is all that is looked at. */
export function damageOf(key: RowKey, row: Row, formBytes = Infinity): Finding | undefined {
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  const record = describeKey(key);
  try {
    verifiedValue(key, row);
  } catch {
    return { code: "row-damaged", runtimeId, record, text: "the row does not match its checksum" };
  }
  if (row.value.length > formBytes) return undefined;
  try {
    decodeRow(key, row, (value) => readForm(key, value, row));
    return undefined;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { code: "row-unreadable", runtimeId, record, text: error.message };
  }
}

/** Reads a value as the loads of its table do. */
function readForm(key: RowKey, value: Uint8Array, row: Row): unknown {
  switch (key.table) {
    case "runtimeManifest":
      return decodeRuntimeManifest(value);
    case "storeManifest":
      return decodeStoreManifest(value);
    case "outcome":
      return decodeOutcome(value);
    case "snapshot":
      return decodeSnapshotFacts(value);
    case "input":
      return readRow(value, row);
    case "receipt":
      return readReceipt(value);
    case "ops":
      return readOpsSnapshot(value);
    case "lifecycle":
      checkLifecycleRecord(value);
      return undefined;
    case "oauth":
      return value;
  }
}
