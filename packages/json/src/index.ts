/**
 * Lossless JSON: reads and writes the records of the `RuntimeStore` contract exactly as the reference does. A `read` function
 * accepts every text that the reference accepts; a `write` function returns canonical JSON. Both throw a `JsonError`.
 * The types of the records are in `@bolthole/json/model`.
 */

// The records.
export {
  MAX_STAGE_ATTEMPTS,
  TERMINAL_INPUT_STATES,
  readInputState,
  readStoredInputState,
  writeInputState,
} from "./records/input-state.js";
export { readReceipt, writeReceipt } from "./records/receipt.js";
export { checkOpsSnapshot, readOpsSnapshot, writeOpsSnapshot } from "./records/operations.js";
export {
  type MachineLifecycleRecord,
  readMachineLifecycle,
  readMachineLifecycleRecord,
  writeMachineLifecycle,
} from "./records/lifecycle.js";
export { type Session, readSession, readSessionId, writeSession } from "./records/session.js";
export {
  type TranscriptHistory,
  type TranscriptRevisionBody,
  readRewriteCommit,
  readTranscriptHistory,
  writeRewriteCommit,
} from "./records/transcript-history.js";
export type { ListGap, MessageList } from "./records/message-list.js";
export { readMessage } from "./records/message.js";

// JSON of any kind.
export { canonicalRawJson } from "./text/canonical-json.js";
export type { RawJson } from "./shapes/raw-json.js";

// Values inside records.
export { isPlainObject } from "./shapes/plain-object.js";
export { canonicalTimestamp } from "./shapes/time.js";
export { canonicalUuid, uuidFromBytes, uuidToBytes, writeUuid } from "./shapes/scalar.js";

// Errors, and gaps: the elided messages of an incremental check.
export { JsonError, MISSING } from "./text/json-error.js";
export { shown } from "./text/shown.js";
export { GAP_BYTE, type Gap, Gaps } from "./text/reader.js";
