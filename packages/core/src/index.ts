export type {
  CheckListener,
  CheckResult,
  Decision,
  DocumentParts,
  Engine,
  EngineStats,
  EntryOf,
  RowEntry,
  KeyOf,
  RowRange,
  Row,
  RowKey,
  Table,
  WriteBatch,
  View,
  StagedDocument,
  RowWrite,
} from "./engine.js";
export { StaleBaseError, pagesOf } from "./engine.js";
export { ReadSet, type RowHandle, type RowReader } from "./commit/read-set.js";
export {
  type Apply,
  type Awaitable,
  type DecidedBatch,
  type Group,
  GroupCommit,
  type GroupRow,
  type MaintenanceTask,
} from "./commit/group-commit.js";
export { DEFAULT_DOCUMENT_MEMORY } from "./documents/document-memory.js";
export { assembleYielding, bufferOf, crc32Yielding } from "./bytes.js";
export {
  DEFAULT_LIMITS,
  DEFAULT_RETENTION,
  type EngineStore,
  type EngineStoreOptions,
  createEngineStore,
} from "./engine-store.js";
export { type AuditedRow, StoreAudit } from "./audit/store-audit.js";
export { Scrub, type ScrubOptions, type ScrubStatus } from "./scrub/scrub.js";
export type { PassReport, ScrubMemory, ScrubNote } from "./scrub/scrub-note.js";
export type { Clock } from "./scrub/pace.js";
export { quarantine } from "./audit/quarantine.js";
export { storeMaintenance, verifyEvents } from "./audit/store-maintenance.js";
export { MemoryEngine } from "./memory-engine.js";
export { foreignRow, deriveRuntimeManifest, ownOrForeignRow, deriveStoreManifest } from "./commit/derived.js";
export type { CountedTable } from "./commit/runtime-manifest.js";
export { keyText } from "./commit/row.js";
export { type RestoreOptions, restoredStoreManifest } from "./commit/restored.js";
export { type SnapshotFacts, decodeSnapshotFacts, encodeSnapshotFacts } from "./documents/snapshot-facts.js";
export { isSoundSeed } from "./rules/input-seed.js";
export { transcriptMessagesDigest } from "./transcript/transcript.js";
export { DEFAULT_CHECK_OPTIONS } from "./transcript/transcript-checker.js";
