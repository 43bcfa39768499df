export type {
  CheckListener,
  CheckResult,
  Decision,
  Document,
  Engine,
  EngineStats,
  Entry,
  KeyOf,
  Range,
  Row,
  RowKey,
  Table,
  Unit,
  View,
  StagedDocument,
  Write,
} from "./engine.js";
export { Moved } from "./engine.js";
export { DEFAULT_DOCUMENT_MEMORY } from "./document-memory.js";
export { assembleInTurns, crc32InTurns } from "./in-turns.js";
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
export { storeCare, verifyEvents } from "./audit/store-care.js";
export { MemoryEngine } from "./memory-engine.js";
export { foreignRow, headOver, ownOrForeign, tallyOver } from "./commit/derived.js";
export type { CountedTable } from "./commit/head.js";
export { keyText } from "./commit/row.js";
export { type RestoreTerms, restoredTally } from "./commit/restored.js";
export { type SnapshotFacts, decodeSnapshotFacts, encodeSnapshotFacts } from "./snapshot.js";
export { isSoundSeed } from "./rules/input-seed.js";
export { transcriptMessagesDigest } from "./transcript/transcript.js";
export { DEFAULT_CHECK_OPTIONS } from "./transcript/transcript-checker.js";
