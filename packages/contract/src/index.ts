// The store and its calls.
export type * from "./runtime-store.js";
export type { Expectations } from "./expectations.js";
export { RuntimeStoreAdapter } from "./runtime-store-adapter.js";
export { type OptionalMethods, RuntimeStoreDefaults } from "./runtime-store-defaults.js";
export type * from "./versioned-store.js";
export { namedSnapshot } from "./versioned-store.js";
export type * from "./request-ids.js";

// Records, ids and versions.
export * from "@bolthole/json/model";
export { loadMachineLifecycle, loadRuntimeState } from "./wire/lifecycle-record.js";

// Errors.
export {
  OutcomeUnknownError,
  StoreError,
  type StoreErrorSubject,
  internal,
  notFound,
  readFailed,
  sessionKeyMismatch,
  transcriptRevisionConflict,
  unsupported,
  writeFailed,
} from "./store-error.js";
export {
  type Applied,
  GRPC_STATUS,
  type GrpcStatus,
  type Retry,
  STORE_ERROR_REASONS,
  STORE_ERROR_VARIANTS,
  type StoreErrorReason,
  type StoreErrorVariant,
} from "./error-reasons.js";

// Arguments.
export { type Fail, converted, refusalOfArgument, shapeRefusal, shaped } from "./argument-errors.js";
export { EXPECTED_TIMEOUT, MAX_TIMEOUT_MS, checkCall, isTimeout } from "./call-options.js";

// Administration of a store.
export {
  type ExportRuntime,
  type ExportedPart,
  type ExportedRuntime,
  IMPORT_RESULTS,
  type ImportContents,
  type ImportResult,
  type ImportRuntime,
  type RuntimeContents,
  type RuntimePart,
  type RuntimeTransfer,
  SingleRecords,
  emptyContents,
  exportContents,
  importContents,
  partsOf,
} from "./runtime-transfer.js";
export {
  type CompactionEvent,
  type CompactionResult,
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type StoreCounts,
  type StoreMaintenance,
  type VerifyEvent,
  isDamageFinding,
  isFatalFinding,
} from "./store-maintenance.js";
