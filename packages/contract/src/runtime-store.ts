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

/** How a single call is made. A store inside the process heeds only `requestId` and `signal`. */
export interface CallOptions {
  /** Milliseconds for the whole call with its retries. */
  readonly timeoutMs?: number | undefined;
  /** Ends the waiting. A mutation that was already sent may still apply: the error says so. */
  readonly signal?: AbortSignal | undefined;
  /** A UUIDv7 for a mutation; made freshly when absent. */
  readonly requestId?: string | undefined;
}

/**
 * Called with the current OAuth bytes (or nothing) and answers the new ones. It may run several times, each time with
 * newer bytes, so it must not keep state between runs. What it throws reaches the caller untouched.
 */
export type AuthOauthFlowUpdate = (current: Uint8Array | undefined) => Uint8Array | Promise<Uint8Array>;

/** OAuth flow state: one opaque value for the whole store (section 10.5). */
export interface AuthOauthFlowStore {
  /** Under which identity callers may share OAuth authority; undefined: under none (section 14.6). */
  authAuthorityKey(): string | undefined;
  /** Replaces the bytes, whatever was stored. */
  persistAuthOauthFlowSnapshot(snapshot: Uint8Array, options?: CallOptions): Promise<void>;
  loadAuthOauthFlowSnapshot(options?: CallOptions): Promise<Uint8Array | undefined>;
  /** Replaces the bytes by what `update` makes of them, with nothing written in between (section 14.13). */
  updateAuthOauthFlowSnapshot(update: AuthOauthFlowUpdate, options?: CallOptions): Promise<void>;
}

/** Session snapshots: one document for each runtime, given back to the byte. */
export interface SessionSnapshotStore {
  /** Replaces the snapshot without a continuity rule or an id check (section 9.4). */
  commitSessionSnapshot(runtimeId: RuntimeId, sessionDelta: SessionDelta, options?: CallOptions): Promise<void>;
  /** Replaces the snapshot by a rewritten one, under the rewrite guard (section 8.5). */
  commitSessionTranscriptRewriteSnapshot(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta,
    commit: TranscriptRewriteCommit,
    options?: CallOptions,
  ): Promise<void>;
  loadSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined>;
  /** Unconditional and idempotent. Receipts, inputs and lifecycle stay. */
  clearSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<void>;
  /** Compares bytes. False, and nothing changed, when they differ or nothing is stored; a bad replacement fails first. */
  replaceSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    replacement: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean>;
  /** Compares bytes. False, and nothing changed, when they differ or nothing is stored. */
  clearSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean>;
}

/** Run boundaries and their receipts. */
export interface BoundaryStore {
  /**
   * Applies a boundary, all or nothing: the snapshot (when given) under the boundary guard (section 8.4), the receipt
   * (a taken key is refused, section 14.1), the input rows (the same id twice: the last wins). With a key, the snapshot's
   * id must equal it; without a snapshot a key is ignored.
   */
  atomicApply(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta | undefined,
    receipt: RunBoundaryReceipt,
    inputUpdates: readonly StoredInputState[],
    sessionStoreKey: SessionId | undefined,
    options?: CallOptions,
  ): Promise<void>;
  loadBoundaryReceipt(
    runtimeId: RuntimeId,
    runId: RunId,
    sequence: bigint,
    options?: CallOptions,
  ): Promise<RunBoundaryReceipt | undefined>;
}

/** The input ledger. Rows come back in normal form (section 14.7). */
export interface InputStateStore {
  /** Any phase may overwrite any other; a row that contradicts itself is refused (section 5.5). */
  persistInputState(runtimeId: RuntimeId, state: StoredInputState, options?: CallOptions): Promise<void>;
  loadInputState(runtimeId: RuntimeId, inputId: InputId, options?: CallOptions): Promise<StoredInputState | undefined>;
  /** By ascending id, in the order of its 16 bytes (section 14.4). One damaged row fails the load and is named. */
  loadInputStates(runtimeId: RuntimeId, options?: CallOptions): Promise<StoredInputState[]>;
}

/** The machine's own record of a runtime. */
export interface MachineLifecycleStore {
  /** The stored bytes, undecoded: a serialised `bolthole.v1.MachineLifecycleRecord` of whatever version (section 3). */
  loadMachineLifecycleRecord(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined>;
  /** Replaces the record, whatever was stored, together with input rows: all or nothing. */
  commitMachineLifecycle(
    runtimeId: RuntimeId,
    commit: MachineLifecycle,
    inputStates: readonly StoredInputState[],
    options?: CallOptions,
  ): Promise<void>;
}

/** The operation registry of a runtime. */
export interface OpsLifecycleStore {
  persistOpsLifecycle(runtimeId: RuntimeId, snapshot: PersistedOpsSnapshot, options?: CallOptions): Promise<void>;
  loadOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<PersistedOpsSnapshot | undefined>;
  /** Idempotent. */
  deleteOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<void>;
}

/**
 * The state of agent runtimes: the reference's `RuntimeStore` trait, method by method.
 *
 * A resolved mutation is durable. Each applies as a whole or not at all; a rejected one has changed nothing, unless its
 * error says `applied: "unknown"`. Every rejection is a `StoreError`.
 */
export interface RuntimeStore
  extends
    AuthOauthFlowStore,
    SessionSnapshotStore,
    BoundaryStore,
    InputStateStore,
    MachineLifecycleStore,
    OpsLifecycleStore {}
