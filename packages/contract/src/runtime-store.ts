import type {
  InputId,
  MachineLifecycle,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RunId,
  RuntimeId,
  SessionDelta,
  SessionId,
  StoredInputState,
  TranscriptRewriteCommit,
} from "@bolthole/json/model";

/** The options of a single call. A store inside the process uses `requestId` and `signal` only. */
export interface CallOptions {
  /** The time in milliseconds for the call with all its retries. Absent: the default of the store. */
  readonly timeoutMs?: number | undefined;
  /** Cancels the call. A mutation that was already sent may still apply; the error then has `applied: "unknown"`. */
  readonly signal?: AbortSignal | undefined;
  /** The request id of a mutation, a UUIDv7. Repeat it to retry the same call. Absent: the store makes a new one. */
  readonly requestId?: string | undefined;
}

/**
 * Returns the new OAuth bytes for the current ones, which are undefined when none are stored. It may be called several
 * times, each time with newer bytes, and must not keep state between these calls.
 */
export type AuthOauthFlowUpdate = (current: Uint8Array | undefined) => Uint8Array | Promise<Uint8Array>;

/** The OAuth flow state: one value for the whole store, which the store does not interpret (contract 2.9). */
export interface AuthOauthFlowStore {
  /**
   * Returns the key under which callers may share OAuth authority, or undefined when they must not share it
   * (contract 2.10).
   */
  authAuthorityKey(): string | undefined;

  /** Replaces the bytes unconditionally. Throws TOO_LARGE above `Limits.oauthSnapshotBytes`. */
  persistAuthOauthFlowSnapshot(snapshot: Uint8Array, options?: CallOptions): Promise<void>;

  /** Returns the bytes, or undefined when none are stored. */
  loadAuthOauthFlowSnapshot(options?: CallOptions): Promise<Uint8Array | undefined>;

  /**
   * Replaces the bytes with those that `update` returns, atomically: nothing is written between the call of `update` and
   * the write (contract 2.9). When another caller writes in between, `update` is called again with the newer bytes, at
   * most 100 times; then the method throws VERSION_CONFLICT. An error of `update` is rethrown unchanged, and nothing is
   * written.
   */
  updateAuthOauthFlowSnapshot(update: AuthOauthFlowUpdate, options?: CallOptions): Promise<void>;
}

/** The session snapshots: one document for each runtime, stored and returned byte by byte (contract 2.4). */
export interface SessionSnapshotStore {
  /**
   * Replaces the snapshot. The new document does not have to continue the stored one, and may have another session id
   * (contract 2.4). Throws INVALID_ARGUMENT when the document is not a session, and PROFILE_MISMATCH when its profile is not
   * the stored one (contract 2.12).
   */
  commitSessionSnapshot(runtimeId: RuntimeId, sessionDelta: SessionDelta, options?: CallOptions): Promise<void>;

  /**
   * Replaces the snapshot with a document whose transcript was rewritten, and compares it with the stored one by the
   * rewrite guard (contract 10.6). Throws TRANSCRIPT_REVISION_CONFLICT when the parent of `commit` is not the stored
   * revision, and TRANSCRIPT_REJECTED when the guard refuses the document.
   */
  commitSessionTranscriptRewriteSnapshot(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta,
    commit: TranscriptRewriteCommit,
    options?: CallOptions,
  ): Promise<void>;

  /** Returns the bytes that were committed last, or undefined when no snapshot is stored. */
  loadSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined>;

  /** Deletes the snapshot, if one is stored. Receipts, input rows and the lifecycle record stay. */
  clearSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<void>;

  /**
   * Replaces the snapshot if its bytes equal `expectedCurrent`, and returns whether it did. Returns false and changes
   * nothing when they differ or when no snapshot is stored. `replacement` is checked first: an invalid one throws even when
   * the expectation is missed (contract 2.5).
   */
  replaceSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    replacement: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean>;

  /**
   * Deletes the snapshot if its bytes equal `expectedCurrent`, and returns whether it did. Returns false and changes
   * nothing when they differ or when no snapshot is stored.
   */
  clearSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean>;
}

/** The boundaries of runs and their receipts (contract 2.3, 4.1). */
export interface BoundaryStore {
  /**
   * Applies the boundary of a run, completely or not at all: the snapshot, if one is given, under the boundary guard
   * (contract 10.5); the receipt; and the input rows, of which the last one wins when two have the same id. All input rows
   * are checked as in `persistInputState`; at most `Limits.batchRows`.
   *
   * `sessionStoreKey` must equal the session id in the snapshot. It is ignored without a snapshot.
   *
   * Throws RECEIPT_EXISTS when a receipt with the same run and sequence is stored, even an identical one (contract 4.2);
   * SESSION_KEY_MISMATCH; TRANSCRIPT_REJECTED when the guard refuses the snapshot.
   */
  atomicApply(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta | undefined,
    receipt: RunBoundaryReceipt,
    inputUpdates: readonly StoredInputState[],
    sessionStoreKey: SessionId | undefined,
    options?: CallOptions,
  ): Promise<void>;

  /** Returns the receipt of a run with this sequence (0 to 2^64-1), or undefined when none is stored (contract 4.3). */
  loadBoundaryReceipt(
    runtimeId: RuntimeId,
    runId: RunId,
    sequence: bigint,
    options?: CallOptions,
  ): Promise<RunBoundaryReceipt | undefined>;
}

/** The input rows of a runtime (contract 5.1). Loads return rows as the canonical JSON has them (contract 5.5). */
export interface InputStateStore {
  /**
   * Writes a row under its `inputId`. Any phase may overwrite any other. Throws RECORD_REJECTED when phase, outcome, lane
   * and attempt count contradict each other (contract 5.4), INVALID_ARGUMENT for a malformed member, and TOO_LARGE above
   * `Limits.inputRowBytes`.
   */
  persistInputState(runtimeId: RuntimeId, state: StoredInputState, options?: CallOptions): Promise<void>;

  /** Returns a row, or undefined when none is stored under this id. */
  loadInputState(runtimeId: RuntimeId, inputId: InputId, options?: CallOptions): Promise<StoredInputState | undefined>;

  /**
   * Returns all rows in ascending order of their ids, which are compared as 16 bytes (contract 2.6). Throws DAMAGED_RECORD,
   * naming the row, when one of them cannot be read (contract 2.6).
   */
  loadInputStates(runtimeId: RuntimeId, options?: CallOptions): Promise<StoredInputState[]>;
}

/** The lifecycle record of a runtime (contract 2.7, 3.2). */
export interface MachineLifecycleStore {
  /**
   * Returns the stored bytes, or undefined when no record is stored. They are a serialised
   * `bolthole.v1.MachineLifecycleRecord` of any version, which the store does not decode (contract 3.3). Use
   * `loadMachineLifecycle` to decode it.
   */
  loadMachineLifecycleRecord(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined>;

  /**
   * Replaces the record unconditionally, together with input rows, completely or not at all. The rows are checked as in
   * `persistInputState`; at most `Limits.batchRows`. The last one wins when two have the same id.
   */
  commitMachineLifecycle(
    runtimeId: RuntimeId,
    commit: MachineLifecycle,
    inputStates: readonly StoredInputState[],
    options?: CallOptions,
  ): Promise<void>;
}

/** The operation snapshot of a runtime: all its operations in one record (contract 6.1). */
export interface OpsLifecycleStore {
  /** Replaces the snapshot unconditionally. Throws TOO_LARGE when its JSON is above `Limits.operationSnapshotBytes`. */
  persistOpsLifecycle(runtimeId: RuntimeId, snapshot: PersistedOpsSnapshot, options?: CallOptions): Promise<void>;

  /** Returns the snapshot, or undefined when none is stored. */
  loadOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<PersistedOpsSnapshot | undefined>;

  /** Deletes the snapshot, if one is stored. */
  deleteOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<void>;
}

/**
 * The store of the state of agent runtimes: the reference's `RuntimeStore` trait, method by method (contract 13).
 *
 * A mutation is durable when its promise resolves. Each mutation applies completely or not at all. A rejected mutation
 * has changed nothing, unless its error has `applied: "unknown"`. All methods reject with a `StoreError`; the capitals
 * in the method comments are its `reason`. Any load may reject with DAMAGED_RECORD, and any call with the reasons about
 * the daemon's condition (docs/errors.md).
 */
export interface RuntimeStore
  extends
    AuthOauthFlowStore,
    SessionSnapshotStore,
    BoundaryStore,
    InputStateStore,
    MachineLifecycleStore,
    OpsLifecycleStore {}
