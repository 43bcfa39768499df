export type {
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
export { assembleInTurns, crc32InTurns } from "./in-turns.js";
export {
  DEFAULT_LIMITS,
  DEFAULT_RETENTION,
  type EngineStore,
  type EngineStoreOptions,
  createEngineStore,
} from "./engine-store.js";
export { MemoryEngine } from "./memory-engine.js";
export { keyText } from "./commit/row.js";
export { transcriptMessagesDigest } from "./transcript/transcript.js";
