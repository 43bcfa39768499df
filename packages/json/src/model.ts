/** The types of the records, and the names of their enumerations. The contract package exports them all again. */
export type { InputId, OperationId, RunId, RuntimeId, SessionId, Version } from "./records/ids.js";
export type { Uuid } from "./shapes/scalar.js";
export type { SystemTime, Timestamp } from "./shapes/time.js";
export {
  MACHINE_LIFECYCLE_RECORD_VERSION,
  type MachineLifecycle,
  type MachineLifecycleBinding,
  RUNTIME_STATES,
  type RuntimeState,
} from "./records/lifecycle.js";
export { RUN_APPLY_BOUNDARIES, type RunApplyBoundary, type RunBoundaryReceipt } from "./records/receipt.js";
export {
  HANDLING_MODES,
  type HandlingMode,
  INPUT_DURABILITIES,
  type InputDurability,
} from "./records/persisted-input.js";
export {
  APPLY_MODES,
  CONSUME_POINTS,
  DRAIN_POLICIES,
  INPUT_ABANDON_REASONS,
  INPUT_LIFECYCLE_STATES,
  type InputAbandonReason,
  type InputHistoryEntry,
  type InputLifecycleState,
  type InputTerminalOutcome,
  PEER_RESPONSE_TERMINAL_APPLY_INTENTS,
  type PolicyDecision,
  type PolicySnapshot,
  QUEUE_MODES,
  ROUTING_DISPOSITIONS,
  RUN_EXECUTION_KINDS,
  type ReconstructionSource,
  type RuntimeInputSemantics,
  type StoredInputState,
  WAKE_MODES,
} from "./records/input-state.js";
export {
  type CompletionEntry,
  type CompletionFeedEntry,
  OPERATION_KINDS,
  OPERATION_STATUSES,
  type OperationAuthorityState,
  type OperationCursors,
  type OperationKind,
  type OperationSource,
  type OperationSpec,
  type OperationState,
  type OperationStatus,
  type OperationTerminalOutcome,
  PEER_TRANSPORTS,
  type PeerAddress,
  type PersistedOpsSnapshot,
} from "./records/operations.js";
export {
  type ByteRange,
  type DocumentPart,
  SESSION_PROFILES,
  type SessionDelta,
  type SessionProfile,
  type SnapshotPatch,
} from "./records/session-delta.js";
export type { TranscriptRewriteCommit, TranscriptRewriteSelection } from "./records/transcript-history.js";
