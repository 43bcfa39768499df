export * from "@bolthole/json/model";
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
export type * from "./runtime-store.js";
export { type OptionalMethods, RuntimeStoreDefaults } from "./runtime-store-defaults.js";
export { loadMachineLifecycle, loadRuntimeState } from "./lifecycle.js";
export type * from "./versioned-store.js";
export { namedSnapshot } from "./named-snapshot.js";
export {
  IMPORT_RESULTS,
  type ImportResult,
  type ImportRuntime,
  type RuntimeContents,
  type RuntimeTransfer,
  emptyContents,
} from "./runtime-transfer.js";
export {
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type StoreMaintenance,
  type StoreCounts,
  type VerifyEvent,
  isDamageFinding,
  isFatalFinding,
} from "./store-maintenance.js";
export { type Expectations, RuntimeStoreAdapter } from "./runtime-store-adapter.js";
