// The store over any engine.
export {
  DEFAULT_LIMITS,
  DEFAULT_RETENTION,
  MAX_INPUT_ROW_BYTES,
  type EngineStore,
  type EngineStoreOptions,
  createEngineStore,
} from "./engine-store.js";
export { DEFAULT_DOCUMENT_MEMORY } from "./documents/document-memory.js";
export { DEFAULT_CHECK_OPTIONS } from "./transcript/transcript-checker.js";
export { transcriptMessagesDigest } from "./transcript/transcript.js";
export { isValidSeed } from "./input-rows/checked-rows.js";

// The engine port, and the parts that engines share.
export type {
  CheckListener,
  CheckResult,
  Decision,
  DocumentParts,
  Engine,
  EngineStats,
  EntryOf,
  KeyOf,
  Row,
  RowEntry,
  RowKey,
  RowRange,
  RowSetKey,
  RowSetReplacement,
  RowSlice,
  RowWrite,
  StagedDocument,
  StagedRows,
  Table,
  View,
  WriteBatch,
} from "./engine.js";
export { ROW_SPACE_RECORD, StaleBaseError, pagesOf } from "./engine.js";
export { ReadSet, type RowHandle, type RowReader, isVerified } from "./commit/row.js";
export {
  type Apply,
  type Awaitable,
  type DecidedBatch,
  type Group,
  GroupCommit,
  type GroupRow,
  type MaintenanceTask,
} from "./commit/group-commit.js";
export { describeKey, keyText } from "./commit/row.js";
export { deriveRuntimeManifest, deriveStoreManifest, externalRow, ownOrExternalRow } from "./commit/external-rows.js";
export {
  type CountedTable,
  NO_ROWS,
  type RestoreOptions,
  STORE_MANIFEST_KEY,
  type TableDigest,
  restoredStoreManifest,
} from "./commit/manifests.js";
export { RowSetDigest } from "./commit/row-set.js";
export { type SnapshotFacts, decodeSnapshotFacts, encodeSnapshotFacts } from "./documents/stored-document.js";
export { assembleYielding, bufferOf, crc32Yielding } from "./bytes.js";
export { YieldBudget } from "./yield-budget.js";
export { MemoryEngine } from "./memory-engine.js";

// Verification and maintenance.
export { type AuditedRow, StoreAudit } from "./audit/store-audit.js";
export { quarantine } from "./audit/quarantine.js";
export { type Recount, type RepairOptions, repairManifests, repairStoreManifest } from "./audit/repair.js";
export { storeMaintenance, verifyEvents } from "./audit/store-maintenance.js";
export {
  type PassReport,
  Scrub,
  type ScrubMemory,
  type ScrubNote,
  type ScrubOptions,
  type ScrubStatus,
} from "./scrub/scrub.js";
export type { Clock } from "./scrub/pace.js";
