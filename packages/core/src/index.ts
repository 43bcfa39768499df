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
export { MAX_RUNTIME_ID_BYTES } from "./validate.js";

// The engine port, and the parts that engines share.
export type {
  CheckListener,
  CheckResult,
  BackupCopy,
  CompactionListener,
  Decision,
  DocumentParts,
  DocumentRowKey,
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
export { type ClosingSteps, EngineLifecycle, closingRefusal } from "./engine-lifecycle.js";
export { type FileGuard, LostFilesError, areFilesInPlace } from "./lost-files.js";
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
export { describeKey, isDocumentRowKey, keyText } from "./commit/row.js";
export { DerivedManifest, deriveStoreManifest, externalRow, ownOrExternalRow } from "./commit/external-rows.js";
export { type CountedTable, NO_ROWS, STORE_MANIFEST_KEY, type TableDigest, updateDigest } from "./commit/manifests.js";
export {
  type RestoreOptions,
  UnusableHorizonError,
  restoredHorizon,
  restoredStoreManifest,
} from "./commit/restored-store.js";
export { type Clock, SYSTEM_CLOCK } from "./clock.js";
export type { HorizonMove } from "./commit/pruning.js";
export type { ClockState } from "./operations/horizon.js";
export { RowSetDigest } from "./commit/row-set.js";
export { type SnapshotFacts, decodeSnapshotFacts, encodeSnapshotFacts } from "./documents/snapshot-facts.js";
export { decodeOpsFacts, encodeOpsFacts, isInlineOps, isOpsFacts } from "./documents/ops-facts.js";
export { assembleYielding, bufferOf, crc32Yielding } from "./bytes.js";
export { YieldBudget } from "./yield-budget.js";
export { MemoryEngine } from "./memory-engine.js";

// Verification and maintenance.
export { type AuditedRow, StoreAudit } from "./audit/store-audit.js";
export { quarantine } from "./audit/quarantine.js";
export { type Recount, type RepairOptions, repairManifests, repairStoreManifest } from "./audit/repair.js";
export { type MaintainedEngine, storeMaintenance, verifyEvents } from "./audit/store-maintenance.js";
export {
  type PassReport,
  Scrub,
  type ScrubMemory,
  type ScrubNote,
  type ScrubOptions,
  type ScrubStatus,
} from "./scrub/scrub.js";
export type { ScrubClock } from "./scrub/pace.js";
