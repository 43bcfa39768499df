export { JsonError } from "./json-error.js";
export { JsonReader } from "./reader.js";
export { canonicalUuid, isCanonicalUuid, uuidFromBytes, uuidToBytes } from "./uuid.js";
export { canonicalTimestamp } from "./datetime.js";
export { canonicalRawJson } from "./free-json.js";
export { readInputState, readStoredInputState, writeInputState } from "./input-state.js";
export { readReceipt, writeReceipt } from "./receipt.js";
export { readOpsSnapshot, writeOpsSnapshot } from "./operations.js";
export {
  type MachineLifecycleRecord,
  readMachineLifecycle,
  readMachineLifecycleRecord,
  writeMachineLifecycle,
} from "./lifecycle.js";
export { readRewriteCommit, writeRewriteCommit } from "./rewrite-commit.js";
export { type Session, readSession, readSessionId, writeSession } from "./session.js";
export { GAP_BYTE, type Gap, Gaps } from "./gaps.js";
export type { ListGap, MessageList } from "./message-list.js";
export { readMessage } from "./message.js";
export { type TranscriptHistory, type TranscriptRevisionBody, readTranscriptHistory } from "./transcript-history.js";
