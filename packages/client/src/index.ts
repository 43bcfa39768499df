// For users: connect, the store, its options, its errors.
export { BoltholeStore, connect } from "./connect.js";
export type { ConnectOptions } from "./connect-options.js";
export { OutcomeUnknownError, StoreError } from "@bolthole/contract";
export type { RequestIdTimes } from "@bolthole/contract";
export type { Applied, Retry, StoreErrorReason, StoreErrorSubject, StoreErrorVariant } from "@bolthole/contract";
export type { AuthOauthFlowUpdate, CallOptions, Expectations, ExpectedVersion, RecordKind } from "@bolthole/contract";
export { loadMachineLifecycle, loadRuntimeState } from "@bolthole/contract";

// For users: the contract and its records.
export type {
  AuthOauthFlowStore,
  BoundaryStore,
  InputStateStore,
  MachineLifecycleStore,
  OpsLifecycleStore,
  RuntimeStore,
  SessionSnapshotStore,
} from "@bolthole/contract";
export type {
  InputId,
  OperationId,
  RunId,
  RuntimeId,
  SessionId,
  SystemTime,
  Timestamp,
  Uuid,
  Version,
} from "@bolthole/contract";
export type { SessionDelta, SessionProfile } from "@bolthole/contract";
export type { TranscriptRewriteCommit, TranscriptRewriteSelection } from "@bolthole/contract";
export type { RunApplyBoundary, RunBoundaryReceipt } from "@bolthole/contract";
export type { MachineLifecycle, MachineLifecycleBinding, RuntimeState } from "@bolthole/contract";
export type {
  HandlingMode,
  InputAbandonReason,
  InputDurability,
  InputHistoryEntry,
  InputLifecycleState,
  InputTerminalOutcome,
  PolicyDecision,
  PolicySnapshot,
  ReconstructionSource,
  RuntimeInputSemantics,
  StoredInputState,
} from "@bolthole/contract";
export type {
  CompletionEntry,
  CompletionFeedEntry,
  OperationAuthorityState,
  OperationCursors,
  OperationKind,
  OperationSource,
  OperationSpec,
  OperationState,
  OperationStatus,
  OperationTerminalOutcome,
  PeerAddress,
  PersistedOpsSnapshot,
} from "@bolthole/contract";

// For libraries: the store with versions (`BoltholeStore.versioned`), its requests and its responses.
export { RuntimeStoreAdapter } from "@bolthole/contract";
export { decodeLifecycleRecord, encodeLifecycleRecord } from "@bolthole/contract/wire";
export type {
  Call,
  CommitStatus,
  Committed,
  CommittedInput,
  CommittedInputs,
  DeletedCounts,
  DeletedRuntime,
  ExpectedSnapshot,
  InputStatePiece,
  InputsVersions,
  KeptInput,
  Limits,
  LoadedDocument,
  LoadedInputStates,
  LoadedSnapshot,
  Mutation,
  NamedSnapshot,
  NoArguments,
  OutcomeRetention,
  RuntimeMutation,
  RuntimePage,
  RuntimeRequest,
  RuntimeSummary,
  StoreInfo,
  UnchangedInputs,
  UpdatedOauth,
  Versioned,
  VersionedStore,
} from "@bolthole/contract";
export type {
  AtomicApply,
  ClearSessionSnapshotIfCurrent,
  CommitMachineLifecycle,
  CommitSessionSnapshot,
  CommitSessionTranscriptRewriteSnapshot,
  GetCommit,
  ListRuntimes,
  LoadBoundaryReceipt,
  LoadInputState,
  LoadInputStates,
  PersistAuthOauthFlowSnapshot,
  PersistInputState,
  PersistOpsLifecycle,
  ReplaceSessionSnapshotIfCurrent,
  UpdateAuthOauthFlowSnapshot,
  UploadInputStates,
  UploadSessionSnapshot,
} from "@bolthole/contract";
export type {
  ByteRange,
  DocumentPart,
  DocumentRecord,
  OpsDelta,
  SessionChange,
  SnapshotPatch,
} from "@bolthole/contract";
