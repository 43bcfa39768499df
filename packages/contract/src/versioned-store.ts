import { hash } from "node:crypto";
import type {
  InputId,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RunId,
  RuntimeId,
  SessionDelta,
  SessionId,
  SessionProfile,
  SnapshotPatch,
  StoredInputState,
  TranscriptRewriteCommit,
  Version,
} from "@bolthole/json/model";
import type { StoreError } from "./store-error.js";

/** How long a call may take, in the way that both a handler and a stub can heed. */
export interface Call {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly deadline?: number | undefined;
}

export type RecordKind = "session_snapshot" | "machine_lifecycle" | "ops_lifecycle" | "input_state";

/** One record that must be as the caller last saw it: at this version, or absent. */
export interface ExpectedVersion {
  readonly record: RecordKind;
  /** Exactly with `input_state`. */
  readonly inputId?: InputId | undefined;
  readonly version: Version | undefined;
}

/** What any mutation may carry besides its arguments. */
export interface Mutation {
  readonly requestId?: string | undefined;
  readonly expectedStoreId?: string | undefined;
}

/** What a mutation of one runtime may carry besides its arguments. */
export interface RuntimeMutation extends Mutation {
  readonly runtimeId: RuntimeId;
  readonly expectedFenceToken?: bigint | undefined;
  readonly expectedVersions?: readonly ExpectedVersion[] | undefined;
}

/** A mutation took effect, now or (`replayed`) in an earlier call with the same request id. */
export interface Committed {
  /** Of every record that the mutation wrote. */
  readonly version: Version;
  readonly replayed: boolean;
}

/** An input row that equals the stored one was not rewritten, and keeps its version. */
export interface KeptInput {
  readonly inputId: InputId;
  readonly version: Version;
}

/** The version of all input rows of a runtime together, which changes with every row that is written. */
export interface InputsVersions {
  readonly before: Version;
  /** The same as `before` when no row was written. */
  readonly after: Version;
}

export interface CommittedInput extends Committed {
  /** Absent in a replayed answer. */
  readonly inputs?: InputsVersions | undefined;
}

export interface CommittedInputs extends CommittedInput {
  /** Empty in a replayed answer. */
  readonly keptInputs: readonly KeptInput[];
}

/** Which bytes are expected: by their version, by the SHA-256 of the whole document, or (not on the wire) the bytes. */
export type ExpectedSnapshot = NamedSnapshot | { readonly document: Uint8Array };
export type NamedSnapshot = { readonly version: Version } | { readonly sha256: Uint8Array };

/** Returns expected bytes as their SHA-256, and any other expectation unchanged. */
export const namedSnapshot = (expected: ExpectedSnapshot): NamedSnapshot =>
  "document" in expected ? { sha256: hash("sha256", expected.document, "buffer") } : expected;

export interface Versioned<T> {
  readonly value: T;
  readonly version: Version;
}

export interface LoadedSnapshot {
  readonly version: Version;
  /** In bytes. */
  readonly length: number;
  readonly profile: SessionProfile;
  /** The document's bytes in order, in pieces of at most 1 MiB. Read it once, to its end. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** The new document of a mutation: whole, as a patch of the stored one, or brought by an upload before. */
export type SessionChange =
  | SessionDelta
  | { readonly patch: SnapshotPatch; readonly profile?: SessionProfile | undefined }
  | { readonly uploadId: string; readonly profile?: SessionProfile | undefined };

/** The input rows that do not travel: they are as they were when all rows of the runtime had this version together. */
export interface UnchangedInputs {
  readonly inputsVersion: Version;
}

export interface LoadedInputStates {
  /** Of all rows together. */
  readonly inputsVersion: Version;
  /** The rows by ascending id. Read them once, to their end. */
  readonly batches: AsyncIterable<readonly Versioned<StoredInputState>[]>;
  /**
   * What cannot be read, when each row's own outcome was asked for: complete when the batches were read to their end. A row
   * that vanished is told of the runtime's head.
   */
  readonly failures: readonly StoreError[];
}

export interface LoadInputStates extends RuntimeRequest {
  /** True: a damaged row is told in `failures`, and does not fail the load. */
  readonly eachOutcome?: boolean | undefined;
}

export interface UploadSessionSnapshot extends RuntimeRequest {
  /** In bytes. */
  readonly length: number;
  /** Of the whole document: 32 bytes. */
  readonly sha256: Uint8Array;
  /** The document's bytes in order, in pieces of at most 4 MiB. What can be read again is sent again when it was lost. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface CommitSessionSnapshot extends RuntimeMutation {
  readonly sessionDelta: SessionChange;
}
export interface CommitSessionTranscriptRewriteSnapshot extends RuntimeMutation {
  readonly sessionDelta: SessionChange;
  readonly commit: TranscriptRewriteCommit;
}
export interface AtomicApply extends RuntimeMutation {
  readonly sessionDelta: SessionChange | undefined;
  readonly receipt: RunBoundaryReceipt;
  readonly inputUpdates: readonly StoredInputState[];
  readonly unchangedInputs?: UnchangedInputs | undefined;
  readonly sessionStoreKey: SessionId | undefined;
}
export interface ReplaceSessionSnapshotIfCurrent extends RuntimeMutation {
  readonly expected: ExpectedSnapshot;
  readonly replacement: SessionChange;
}
export interface ClearSessionSnapshotIfCurrent extends RuntimeMutation {
  readonly expected: ExpectedSnapshot;
}
export interface PersistInputState extends RuntimeMutation {
  readonly state: StoredInputState;
}
export interface CommitMachineLifecycle extends RuntimeMutation {
  /** A serialised `MachineLifecycleRecord` of version 1. Fields of it that nobody knows yet are kept. */
  readonly record: Uint8Array;
  readonly inputStates: readonly StoredInputState[];
  readonly unchangedInputs?: UnchangedInputs | undefined;
}
export interface PersistOpsLifecycle extends RuntimeMutation {
  readonly snapshot: PersistedOpsSnapshot;
}
export interface PersistAuthOauthFlowSnapshot extends Mutation {
  readonly snapshot: Uint8Array;
}
export interface UpdateAuthOauthFlowSnapshot extends Mutation {
  /** Undefined: nothing may be stored. */
  readonly expected: Version | undefined;
  readonly snapshot: Uint8Array;
}

/** A compare-and-set of the OAuth bytes: done, or the bytes that stood in its way (undefined: none). */
export type UpdatedOauth =
  | (Committed & { readonly updated: true })
  | { readonly updated: false; readonly current: Versioned<Uint8Array> | undefined };

export interface RuntimeSummary {
  readonly runtimeId: RuntimeId;
  /** Of the last commit that changed anything of this runtime. */
  readonly version: Version;
  readonly inputCount: number;
  readonly receiptCount: number;
  readonly hasSessionSnapshot: boolean;
  readonly hasMachineLifecycle: boolean;
  readonly hasOpsLifecycle: boolean;
}

export interface RuntimePage {
  readonly runtimes: readonly RuntimeSummary[];
  /** Empty after the last page. */
  readonly nextPageToken: string;
}

/** What became of a request id. */
export type CommitStatus =
  | { readonly state: "applied"; readonly version: Version; readonly method: string }
  | { readonly state: "pending" | "not_found" | "sealed" | "expired" };

export interface Limits {
  readonly requestBytes: number;
  readonly requestBytesInFlight: number;
  readonly requestsInFlight: number;
  readonly documentBytes: number;
  readonly runtimeIdBytes: number;
  readonly inputRowBytes: number;
  readonly batchRows: number;
  readonly operationSnapshotBytes: number;
  readonly oauthSnapshotBytes: number;
  /** Of one patch. */
  readonly patchPieces: number;
  /** Of new bytes in one patch. */
  readonly patchInsertBytes: number;
  /** Of all uploads together that no commit has used yet. */
  readonly uploadBytes: number;
  /** Seconds after which an upload that nothing happens to is forgotten. */
  readonly uploadIdleSeconds: number;
  /** Of the store as a whole; absent when its operator sets none. */
  readonly quotaBytes?: number | undefined;
}

/** How long a request id protects a retry: until either bound is passed. */
export interface OutcomeRetention {
  readonly maxAgeSeconds: number;
  readonly maxCount: number;
}

export interface StoreInfo {
  readonly serverVersion: string;
  readonly storeId: string;
  readonly engine: string;
  /** False: what is acknowledged does not survive the process. */
  readonly durable: boolean;
  readonly limits: Limits;
  readonly outcomeRetention: OutcomeRetention;
}

/** The store as a whole. */
export type NoArguments = Readonly<Record<string, never>>;
export interface RuntimeRequest {
  readonly runtimeId: RuntimeId;
}
export interface LoadInputState extends RuntimeRequest {
  readonly inputId: InputId;
}
export interface LoadBoundaryReceipt extends RuntimeRequest {
  readonly runId: RunId;
  readonly sequence: bigint;
}
export interface ListRuntimes {
  /** 1 to 1,000; 0 means 100. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
}
export interface GetCommit {
  readonly requestId: string;
  readonly seal: boolean;
}

/**
 * The `RuntimeStore` contract with what a wire needs on top: versions in every answer, request ids, expectations, and
 * answers in pieces. One method for each RPC of `RuntimeStoreService`; proto/bolthole/v1/store.proto says what each does.
 */
export interface VersionedStore {
  authAuthorityKey(request: NoArguments, call?: Call): Promise<string>;
  persistAuthOauthFlowSnapshot(request: PersistAuthOauthFlowSnapshot, call?: Call): Promise<Committed>;
  loadAuthOauthFlowSnapshot(request: NoArguments, call?: Call): Promise<Versioned<Uint8Array> | undefined>;
  updateAuthOauthFlowSnapshot(request: UpdateAuthOauthFlowSnapshot, call?: Call): Promise<UpdatedOauth>;

  commitSessionSnapshot(request: CommitSessionSnapshot, call?: Call): Promise<Committed>;
  commitSessionTranscriptRewriteSnapshot(
    request: CommitSessionTranscriptRewriteSnapshot,
    call?: Call,
  ): Promise<Committed>;
  atomicApply(request: AtomicApply, call?: Call): Promise<CommittedInputs>;
  loadInputStates(request: LoadInputStates, call?: Call): Promise<LoadedInputStates>;
  loadBoundaryReceipt(request: LoadBoundaryReceipt, call?: Call): Promise<Versioned<RunBoundaryReceipt> | undefined>;
  loadSessionSnapshot(request: RuntimeRequest, call?: Call): Promise<LoadedSnapshot | undefined>;
  clearSessionSnapshot(request: RuntimeMutation, call?: Call): Promise<Committed>;
  /** Brings a document for a later mutation of the same runtime, under the id that it answers. */
  uploadSessionSnapshot(request: UploadSessionSnapshot, call?: Call): Promise<string>;
  /** Undefined: the expected snapshot is not the current one, and nothing changed. */
  replaceSessionSnapshotIfCurrent(
    request: ReplaceSessionSnapshotIfCurrent,
    call?: Call,
  ): Promise<Committed | undefined>;
  /** Undefined: the expected snapshot is not the current one, and nothing changed. */
  clearSessionSnapshotIfCurrent(request: ClearSessionSnapshotIfCurrent, call?: Call): Promise<Committed | undefined>;
  persistInputState(request: PersistInputState, call?: Call): Promise<CommittedInput>;
  loadInputState(request: LoadInputState, call?: Call): Promise<Versioned<StoredInputState> | undefined>;
  loadMachineLifecycleRecord(request: RuntimeRequest, call?: Call): Promise<Versioned<Uint8Array> | undefined>;
  commitMachineLifecycle(request: CommitMachineLifecycle, call?: Call): Promise<CommittedInputs>;
  persistOpsLifecycle(request: PersistOpsLifecycle, call?: Call): Promise<Committed>;
  loadOpsLifecycle(request: RuntimeRequest, call?: Call): Promise<Versioned<PersistedOpsSnapshot> | undefined>;
  deleteOpsLifecycle(request: RuntimeMutation, call?: Call): Promise<Committed>;

  listRuntimes(request: ListRuntimes, call?: Call): Promise<RuntimePage>;
  getCommit(request: GetCommit, call?: Call): Promise<CommitStatus>;
  getServerInfo(request: NoArguments, call?: Call): Promise<StoreInfo>;
}
