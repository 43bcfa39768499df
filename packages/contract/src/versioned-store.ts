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
import type { RequestIdTimes } from "./request-ids.js";
import type { StoreError } from "./store-error.js";

/** The cancellation and the deadline of a call. */
export interface Call {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly deadline?: number | undefined;
}

/** The kinds of records whose version a mutation may expect. */
export type RecordKind = "session_snapshot" | "machine_lifecycle" | "ops_lifecycle" | "input_state";

/** The version that a record of the runtime must have. */
export interface ExpectedVersion {
  readonly record: RecordKind;
  /** Required with "input_state", not allowed otherwise. */
  readonly inputId?: InputId | undefined;
  /** Undefined when the record must not be stored. */
  readonly version: Version | undefined;
}

/** The conditions of every mutation. */
export interface Mutation {
  /** A UUIDv7, which makes a retry safe. A client adds one when it is absent. */
  readonly requestId?: string | undefined;
  /** The mutation throws STORE_REPLACED when the store has another id. */
  readonly expectedStoreId?: string | undefined;
}

/** The conditions of a mutation of one runtime. */
export interface RuntimeMutation extends Mutation {
  readonly runtimeId: RuntimeId;
  /** The mutation throws FENCE_CONFLICT unless the stored lifecycle record has this token. */
  readonly expectedFenceToken?: bigint | undefined;
  /** The mutation throws VERSION_CONFLICT unless each of these records has its version. At most 4,096. */
  readonly expectedVersions?: readonly ExpectedVersion[] | undefined;
}

/** The result of a mutation that was applied. */
export interface Committed {
  /** The version of all records that the mutation wrote. */
  readonly version: Version;
  /** True when an earlier call with the same request id was applied, and this call applied nothing. */
  readonly replayed: boolean;
}

/** An input row that was not written, because it equals the stored one. */
export interface KeptInput {
  readonly inputId: InputId;
  /** The version that the row keeps. */
  readonly version: Version;
}

/** The version of all input rows of a runtime together. It changes with every write of an input row. */
export interface InputsVersions {
  readonly before: Version;
  /** The same as `before` when no row was written. */
  readonly after: Version;
}

export interface CommittedInput extends Committed {
  /** Absent in the response of a store that does not report it. */
  readonly inputs?: InputsVersions | undefined;
}

export interface CommittedInputs extends CommittedInput {
  /** The rows of the request that were not written. */
  readonly keptInputs: readonly KeptInput[];
}

/** The records that a deletion removed: those that were there. A row that was missing because of damage is not counted. */
export interface DeletedCounts {
  /** The number of input rows. */
  readonly inputStates: number;
  readonly receipts: number;
  readonly hadSessionSnapshot: boolean;
  readonly hadMachineLifecycle: boolean;
  readonly hadOpsLifecycle: boolean;
}

export interface DeletedRuntime extends Committed, DeletedCounts {}

/** A snapshot that must be stored: its version, the SHA-256 of its bytes, or (not over the wire) the bytes. */
export type ExpectedSnapshot = NamedSnapshot | { readonly document: Uint8Array };
export type NamedSnapshot = { readonly version: Version } | { readonly sha256: Uint8Array };

/** Returns expected bytes as their SHA-256, and any other expectation unchanged. */
export const namedSnapshot = (expected: ExpectedSnapshot): NamedSnapshot =>
  "document" in expected ? { sha256: hash("sha256", expected.document, "buffer") } : expected;

/** A loaded value and its version. */
export interface Versioned<T> {
  readonly value: T;
  readonly version: Version;
}

export interface LoadedDocument {
  readonly version: Version;
  /** The length of the document in bytes. */
  readonly length: number;
  /** The bytes of the document in order, in chunks of at most 1 MiB. Read them once, to the end. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface LoadedSnapshot extends LoadedDocument {
  readonly profile: SessionProfile;
}

/** The new document of a mutation: the whole document, a patch of the stored one, or the id of an upload. */
export type SessionChange =
  | SessionDelta
  | { readonly patch: SnapshotPatch; readonly profile?: SessionProfile | undefined }
  | { readonly uploadId: string; readonly profile?: SessionProfile | undefined };

/** The new JSON of an operation snapshot: the whole JSON, a patch of the stored one, or the id of an upload. */
export type OpsDelta =
  { readonly opsSnapshot: Uint8Array } | { readonly patch: SnapshotPatch } | { readonly uploadId: string };

/** The records that are documents: they may be sent as patches and uploads. */
export type DocumentRecord = Extract<RecordKind, "session_snapshot" | "ops_lifecycle">;

/**
 * Stands for all input rows of the runtime that are not in the request. The mutation throws INPUT_NOT_CURRENT when the
 * rows of the runtime do not have this version.
 */
export interface UnchangedInputs {
  readonly inputsVersion: Version;
}

export interface LoadedInputStates {
  /** The version of all rows together. Empty when `eachOutcome` is set and the version cannot be read. */
  readonly inputsVersion: Version;
  /** The rows in ascending order of their ids (contract 2.6). Read them once, to the end. */
  readonly batches: AsyncIterable<readonly Versioned<StoredInputState>[]>;
  /**
   * The errors of the rows that cannot be read, when `eachOutcome` is set. Complete when the batches were read to the end.
   * A missing row is reported as damage of the runtime manifest.
   */
  readonly failures: readonly StoreError[];
}

export interface LoadInputStates extends RuntimeRequest {
  /** True: a damaged row is reported in `failures`, and does not fail the load (contract 2.6). */
  readonly eachOutcome?: boolean | undefined;
}

export interface UploadSessionSnapshot extends RuntimeRequest {
  /** The kind of the document, for which alone the upload can be used. Undefined: a session snapshot. */
  readonly record?: DocumentRecord | undefined;
  /** The length of the document in bytes. */
  readonly length: number;
  /** The SHA-256 of the whole document: 32 bytes. */
  readonly sha256: Uint8Array;
  /**
   * The bytes of the document in order, in chunks of at most 4 MiB. A client that loses the connection repeats the upload
   * if the chunks can be read again; an iterator can be read only once.
   */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A part of a row that is too long for one message. */
export interface InputStatePiece {
  /** The length of the serialised `bolthole.v1.StoredInputState` in bytes, the same in every piece of the row. */
  readonly length: number;
  /** The next bytes of the message. */
  readonly bytes: Uint8Array;
}

export interface UploadInputStates extends RuntimeRequest {
  /** The number of rows: 1 to `Limits.inputUploadRows`. */
  readonly rowCount: number;
  /**
   * The rows in ascending order of their ids, each id once: lists of whole rows, and the pieces of long rows, one row after the
   * other. A client that loses the connection repeats the upload if the parts can be read again; an iterator can be read only
   * once.
   */
  readonly parts: AsyncIterable<readonly StoredInputState[] | InputStatePiece>;
}

export interface CommitSessionSnapshot extends RuntimeMutation {
  readonly sessionDelta: SessionChange;
}
export interface CommitSessionTranscriptRewriteSnapshot extends RuntimeMutation {
  readonly sessionDelta: SessionChange;
  readonly commit: TranscriptRewriteCommit;
}
export interface AtomicApply extends RuntimeMutation {
  /** Undefined: the snapshot stays as it is, and `sessionStoreKey` is ignored. */
  readonly sessionDelta: SessionChange | undefined;
  readonly receipt: RunBoundaryReceipt;
  /** At most `Limits.batchRows`. The last one wins when two rows have the same id. */
  readonly inputUpdates: readonly StoredInputState[];
  /** The upload that has the rows. `inputUpdates` must be empty then. */
  readonly inputUploadId?: string | undefined;
  readonly unchangedInputs?: UnchangedInputs | undefined;
  /** The session id that the snapshot must have. Undefined: not compared. */
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
  /** Undefined only with `inputUploadId`. */
  readonly state: StoredInputState | undefined;
  /** The upload that has the row, and no other one. */
  readonly inputUploadId?: string | undefined;
}
export interface CommitMachineLifecycle extends RuntimeMutation {
  /** A serialised `bolthole.v1.MachineLifecycleRecord` of version 1. Its unknown fields are kept. */
  readonly record: Uint8Array;
  /** At most `Limits.batchRows`. The last one wins when two rows have the same id. */
  readonly inputStates: readonly StoredInputState[];
  /** The upload that has the rows. `inputStates` must be empty then. */
  readonly inputUploadId?: string | undefined;
  readonly unchangedInputs?: UnchangedInputs | undefined;
}
/** Exactly one of the two members is required. */
export interface PersistOpsLifecycle extends RuntimeMutation {
  /** At most `Limits.typedOpsSnapshotBytes` in its canonical JSON. A client sends a larger one as a delta. */
  readonly snapshot?: PersistedOpsSnapshot | undefined;
  /** At most `Limits.operationSnapshotBytes`. The bytes are kept as they are (contract 6.3). */
  readonly opsDelta?: OpsDelta | undefined;
}
export interface PersistAuthOauthFlowSnapshot extends Mutation {
  readonly snapshot: Uint8Array;
}
export interface UpdateAuthOauthFlowSnapshot extends Mutation {
  /** Undefined when no bytes must be stored. */
  readonly expected: Version | undefined;
  readonly snapshot: Uint8Array;
}

/** The result of a compare-and-set of the OAuth bytes. If it missed, `current` has the stored bytes, if any. */
export type UpdatedOauth =
  | (Committed & { readonly updated: true })
  | { readonly updated: false; readonly current: Versioned<Uint8Array> | undefined };

/** A runtime with at least one stored record. */
export interface RuntimeSummary {
  readonly runtimeId: RuntimeId;
  /** The version of the last commit that changed a record of this runtime. */
  readonly version: Version;
  readonly inputCount: number;
  readonly receiptCount: number;
  readonly hasSessionSnapshot: boolean;
  readonly hasMachineLifecycle: boolean;
  readonly hasOpsLifecycle: boolean;
  /** The runtime manifest is damaged or missing: the version is empty, and the counts and records are not known. */
  readonly hasDamagedManifest: boolean;
}

export interface RuntimePage {
  /** The order is fixed and has no meaning. */
  readonly runtimes: readonly RuntimeSummary[];
  /** The `pageToken` of the next page. Empty after the last page. */
  readonly nextPageToken: string;
}

/**
 * The state of a request id: "applied", with the version and the RPC name of the first response; "pending", in progress;
 * "not_found", not applied so far; "sealed", never applied later; "expired", below the horizon, so that it is not known
 * whether it was applied, and that it is never applied later.
 */
export type CommitStatus =
  | { readonly state: "applied"; readonly version: Version; readonly method: string }
  | { readonly state: "pending" | "not_found" | "sealed" | "expired" };

/** The limits of a store. A value above a limit is refused as TOO_LARGE, a call above what may be in flight as BUSY. */
export interface Limits {
  /** The size of one request message in bytes. */
  readonly requestBytes: number;
  /** The size of all requests in flight together, in bytes. */
  readonly requestBytesInFlight: number;
  /** The number of requests in flight. */
  readonly requestsInFlight: number;
  /** The size of one session snapshot in bytes. */
  readonly documentBytes: number;
  /** The size of a runtime id in bytes of UTF-8. */
  readonly runtimeIdBytes: number;
  /** The size of one input row in its canonical JSON, in bytes. */
  readonly inputRowBytes: number;
  /** The number of input rows in one request. An upload may have more. */
  readonly batchRows: number;
  /** The size of the JSON of an operation snapshot in bytes. */
  readonly operationSnapshotBytes: number;
  /** The size in bytes, in canonical JSON, of an operation snapshot that is sent or loaded as a value. */
  readonly typedOpsSnapshotBytes: number;
  /** The size of the OAuth flow state in bytes. */
  readonly oauthSnapshotBytes: number;
  /** The number of pieces in one patch. */
  readonly patchPieces: number;
  /** The number of new bytes in one patch. */
  readonly patchInsertBytes: number;
  /** The bytes that have arrived of all uploads together that no commit has used yet. */
  readonly uploadBytes: number;
  /** The number of seconds after which an unused upload is dropped. */
  readonly uploadIdleSeconds: number;
  /** The number of input rows in one upload. */
  readonly inputUploadRows: number;
  /**
   * The size of one upload of input rows in their canonical JSON, and of all together that no commit has used yet, in bytes. The
   * stored rows that are staged beside the uploaded ones count for all other uploads.
   */
  readonly inputUploadBytes: number;
  /** The size of the whole store in bytes. Absent when the operator set no quota. */
  readonly quotaBytes?: number | undefined;
}

/** The time for which a request id protects a retry. The outcome of a request is dropped when it exceeds either bound. */
export interface OutcomeRetention {
  readonly maxAgeSeconds: number;
  /**
   * Outcomes of the last minute are kept above it, and those whose ids are ahead of the store time do not count. A tenth as many
   * sealed ids are kept beside them.
   */
  readonly maxCount: number;
}

export interface StoreInfo {
  readonly serverVersion: string;
  /** A UUID that was made with the store. A restored store has a new one. */
  readonly storeId: string;
  /** The name of the storage engine, such as "lmdb". */
  readonly engine: string;
  /** False: acknowledged mutations are lost when the process ends. */
  readonly durable: boolean;
  readonly limits: Limits;
  readonly outcomeRetention: OutcomeRetention;
  /** Absent when the store cannot be read. */
  readonly requestIdTimes?: RequestIdTimes | undefined;
}

/** The request of a method without arguments. */
export type NoArguments = Readonly<Record<string, never>>;

/** The request of a method about one runtime. */
export interface RuntimeRequest {
  readonly runtimeId: RuntimeId;
}
export interface LoadInputState extends RuntimeRequest {
  readonly inputId: InputId;
}
export interface LoadBoundaryReceipt extends RuntimeRequest {
  readonly runId: RunId;
  /** 0 to 2^64-1. */
  readonly sequence: bigint;
}
export interface ListRuntimes {
  /** The largest number of runtimes to return: 1 to 1,000; 0 means 100. A page may be shorter. */
  readonly pageSize: number;
  /** The `nextPageToken` of the previous page. Empty for the first page. */
  readonly pageToken: string;
}
export interface GetCommit {
  readonly requestId: string;
  /** True: a request that is not applied is sealed, so that it can never be applied later. */
  readonly seal: boolean;
}

/**
 * The `RuntimeStore` contract with versions, request ids, expectations and streams: one method for each RPC of
 * `RuntimeStoreService`. The daemon serves this interface, and the client implements it over a connection.
 *
 * The methods have the meaning, the limits and the errors of the methods of `RuntimeStore` with the same name; the comments
 * below state what is different. All of them reject with a `StoreError`. A mutation is durable when its promise resolves.
 */
export interface VersionedStore {
  /** Returns `bolthole:` followed by the store id (contract 2.10). */
  authAuthorityKey(request: NoArguments, call?: Call): Promise<string>;

  persistAuthOauthFlowSnapshot(request: PersistAuthOauthFlowSnapshot, call?: Call): Promise<Committed>;

  loadAuthOauthFlowSnapshot(request: NoArguments, call?: Call): Promise<Versioned<Uint8Array> | undefined>;

  /** Replaces the OAuth bytes if they have the expected version (contract 2.9). A missed expectation is not an error. */
  updateAuthOauthFlowSnapshot(request: UpdateAuthOauthFlowSnapshot, call?: Call): Promise<UpdatedOauth>;

  /**
   * Replaces the snapshot. Like all methods with a `SessionChange`, it throws BASE_NOT_CURRENT when the base of a patch is
   * not the stored snapshot (contract 12.4), and UPLOAD_UNKNOWN when an upload was used or dropped.
   */
  commitSessionSnapshot(request: CommitSessionSnapshot, call?: Call): Promise<Committed>;

  commitSessionTranscriptRewriteSnapshot(
    request: CommitSessionTranscriptRewriteSnapshot,
    call?: Call,
  ): Promise<Committed>;

  /** Applies the boundary of a run. Rows that equal the stored ones are not written and are returned as `keptInputs`. */
  atomicApply(request: AtomicApply, call?: Call): Promise<CommittedInputs>;

  /**
   * Returns the rows in batches. The call throws DAMAGED_RECORD when a row is missing, and reading a batch throws it when a
   * row is damaged, unless `eachOutcome` is set.
   */
  loadInputStates(request: LoadInputStates, call?: Call): Promise<LoadedInputStates>;

  loadBoundaryReceipt(request: LoadBoundaryReceipt, call?: Call): Promise<Versioned<RunBoundaryReceipt> | undefined>;

  /** Returns the snapshot in chunks, or undefined when none is stored. */
  loadSessionSnapshot(request: RuntimeRequest, call?: Call): Promise<LoadedSnapshot | undefined>;

  clearSessionSnapshot(request: RuntimeMutation, call?: Call): Promise<Committed>;

  /**
   * Sends a session snapshot or an operation snapshot for a later mutation of the same runtime, and returns the id of the
   * upload. The id is valid for one mutation. The store drops an upload that is not used for `Limits.uploadIdleSeconds`, and
   * all of them when it closes. Throws TOO_LARGE above `Limits.documentBytes` or `Limits.operationSnapshotBytes`, and BUSY
   * when all uploads together exceed `Limits.uploadBytes`.
   */
  uploadSessionSnapshot(request: UploadSessionSnapshot, call?: Call): Promise<string>;

  /**
   * Uploads input rows that are too many or too long for one request. Returns the upload id, which one of `atomicApply`,
   * `commitMachineLifecycle` and `persistInputState` may name instead of the rows. It throws UPLOAD_UNKNOWN when the upload was
   * used or dropped, or when another row of the runtime was written since: upload the rows again, under the same request id.
   */
  uploadInputStates(request: UploadInputStates, call?: Call): Promise<string>;

  /** Replaces the snapshot if the expected one is stored. Otherwise it changes nothing and returns undefined. */
  replaceSessionSnapshotIfCurrent(
    request: ReplaceSessionSnapshotIfCurrent,
    call?: Call,
  ): Promise<Committed | undefined>;

  /** Deletes the snapshot if the expected one is stored. Otherwise it changes nothing and returns undefined. */
  clearSessionSnapshotIfCurrent(request: ClearSessionSnapshotIfCurrent, call?: Call): Promise<Committed | undefined>;

  /** Writes a row. A row that equals the stored one is not written and keeps its version. */
  persistInputState(request: PersistInputState, call?: Call): Promise<CommittedInput>;

  loadInputState(request: LoadInputState, call?: Call): Promise<Versioned<StoredInputState> | undefined>;

  /** Returns the serialised lifecycle record, of any version, or undefined when none is stored (contract 3.3). */
  loadMachineLifecycleRecord(request: RuntimeRequest, call?: Call): Promise<Versioned<Uint8Array> | undefined>;

  /**
   * Replaces the lifecycle record together with input rows. Throws UNSUPPORTED_RECORD_VERSION for a record version other
   * than 1, and INVALID_ARGUMENT for a record without a known state (contract 3.3).
   */
  commitMachineLifecycle(request: CommitMachineLifecycle, call?: Call): Promise<CommittedInputs>;

  /**
   * Replaces the operation snapshot. Like all methods with a patch or an upload, it throws BASE_NOT_CURRENT when the base of
   * the patch is not stored, and UPLOAD_UNKNOWN when the upload was used or dropped.
   */
  persistOpsLifecycle(request: PersistOpsLifecycle, call?: Call): Promise<Committed>;

  /** Returns the operation snapshot. Throws TOO_LARGE for one above `Limits.typedOpsSnapshotBytes`: load its JSON. */
  loadOpsLifecycle(request: RuntimeRequest, call?: Call): Promise<Versioned<PersistedOpsSnapshot> | undefined>;

  /** Returns the JSON of the operation snapshot in chunks, or undefined when none is stored (contract 6.3). */
  loadOpsLifecycleJson(request: RuntimeRequest, call?: Call): Promise<LoadedDocument | undefined>;

  deleteOpsLifecycle(request: RuntimeMutation, call?: Call): Promise<Committed>;

  /**
   * Deletes everything that is stored for a runtime. Decodes no record that it deletes, so a damaged runtime can be deleted.
   * An expectation of a damaged record throws DAMAGED_RECORD.
   */
  deleteRuntime(request: RuntimeMutation, call?: Call): Promise<DeletedRuntime>;

  /**
   * Returns one page of the runtimes with at least one stored record. A runtime whose manifest is damaged is listed with
   * `hasDamagedManifest`. Throws TOO_LARGE for a page above 1,000 runtimes.
   */
  listRuntimes(request: ListRuntimes, call?: Call): Promise<RuntimePage>;

  /** Returns the state of a request id. With `seal`, the returned state is final. */
  getCommit(request: GetCommit, call?: Call): Promise<CommitStatus>;

  /** Returns the identity of the store and its limits. */
  getServerInfo(request: NoArguments, call?: Call): Promise<StoreInfo>;
}
