export { JsonError } from "./json-error.js";
export { JsonReader } from "./reader.js";
export { canonicalUuid, isCanonicalUuid, uuidFromBytes, uuidToBytes } from "./uuid.js";
export { canonicalTimestamp } from "./datetime.js";
export { normaliseFreeJson } from "./free-json.js";
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
export { readSessionId } from "./session-envelope.js";
