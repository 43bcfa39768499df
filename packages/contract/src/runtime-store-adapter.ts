import { setTimeout as sleep } from "node:timers/promises";
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
import { JsonError, readOpsSnapshot, writeOpsSnapshot } from "@bolthole/json";
import type { AuthOauthFlowUpdate, CallOptions, RuntimeStore } from "./runtime-store.js";
import { converted, shaped } from "./argument-errors.js";
import { callOf } from "./call-options.js";
import { type Expectations, checkExpectations } from "./expectations.js";
import { StoreError, readFailed, writeFailed } from "./store-error.js";
import type { Call, DeletedCounts, LoadedDocument, RuntimeMutation, VersionedStore } from "./versioned-store.js";
import { requireField } from "./wire/message-codec.js";
import { opsSnapshot } from "./wire/records.js";
import { encodeLifecycleRecord } from "./wire/lifecycle-record.js";

/** The largest number of attempts of one OAuth update (contract 2.9). */
const OAUTH_ATTEMPTS = 100;

/** The largest number of attempts of one load of all input rows. */
const LOAD_ATTEMPTS = 8;

/**
 * A `RuntimeStore` over a `VersionedStore`, which may be inside the process or behind a connection.
 *
 * Each mutation carries `storeId`, so that it throws STORE_REPLACED after the store was restored or replaced.
 */
export class RuntimeStoreAdapter implements RuntimeStore {
  constructor(
    private readonly store: VersionedStore,
    /** The UUID of the store, from `getServerInfo`. */
    readonly storeId: string,
    private readonly expectations: Expectations = {},
  ) {}

  /**
   * Returns the same store with conditions: its mutations are refused unless the expectations hold. The expectations of this store
   * still hold, unless the new ones have the same member. Throws INVALID_ARGUMENT for a member that does not exist or has a wrong
   * value.
   */
  withExpectations(expectations: Expectations): RuntimeStoreAdapter {
    checkExpectations(expectations, writeFailed);
    const { fenceToken = this.expectations.fenceToken, versions = this.expectations.versions } = expectations;
    return new RuntimeStoreAdapter(this.store, this.storeId, { fenceToken, versions });
  }

  /** Returns `bolthole:` followed by the store id (contract 2.10). */
  authAuthorityKey(): string {
    return `bolthole:${this.storeId}`;
  }

  async persistAuthOauthFlowSnapshot(snapshot: Uint8Array, options?: CallOptions): Promise<void> {
    await this.store.persistAuthOauthFlowSnapshot({ ...this.mutation(options), snapshot }, call(options));
  }

  async loadAuthOauthFlowSnapshot(options?: CallOptions): Promise<Uint8Array | undefined> {
    return (await this.store.loadAuthOauthFlowSnapshot({}, readCall(options)))?.value;
  }

  async updateAuthOauthFlowSnapshot(update: AuthOauthFlowUpdate, options?: CallOptions): Promise<void> {
    const limits = call(options);
    if (typeof update !== "function") {
      throw writeFailed("INVALID_ARGUMENT", "update: expected a function; nothing was sent", { record: "update" });
    }
    let current = await this.store.loadAuthOauthFlowSnapshot({}, limits);
    for (let attempt = 0; attempt < OAUTH_ATTEMPTS; attempt += 1) {
      const snapshot = await update(current?.value);
      // The first attempt only has the caller's request id, because a request id belongs to one set of arguments.
      const request = { expectedStoreId: this.storeId, expected: current?.version, snapshot };
      const result = await this.store.updateAuthOauthFlowSnapshot(
        attempt === 0 ? { ...request, requestId: options?.requestId } : request,
        limits,
      );
      if (result.updated) return;
      current = result.current;
      await sleep(Math.random() * Math.min(50, attempt));
    }
    throw writeFailed(
      "VERSION_CONFLICT",
      `the OAuth flow snapshot changed during each of ${String(OAUTH_ATTEMPTS)} attempts to update it; call again`,
      { record: "auth_oauth_flow_snapshot" },
    );
  }

  async commitSessionSnapshot(runtimeId: RuntimeId, sessionDelta: SessionDelta, options?: CallOptions): Promise<void> {
    await this.store.commitSessionSnapshot(
      { ...this.runtimeMutation(runtimeId, options), sessionDelta },
      call(options),
    );
  }

  async commitSessionTranscriptRewriteSnapshot(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta,
    commit: TranscriptRewriteCommit,
    options?: CallOptions,
  ): Promise<void> {
    await this.store.commitSessionTranscriptRewriteSnapshot(
      { ...this.runtimeMutation(runtimeId, options), sessionDelta, commit },
      call(options),
    );
  }

  async atomicApply(
    runtimeId: RuntimeId,
    sessionDelta: SessionDelta | undefined,
    receipt: RunBoundaryReceipt,
    inputUpdates: readonly StoredInputState[],
    sessionStoreKey: SessionId | undefined,
    options?: CallOptions,
  ): Promise<void> {
    await this.store.atomicApply(
      { ...this.runtimeMutation(runtimeId, options), sessionDelta, receipt, inputUpdates, sessionStoreKey },
      call(options),
    );
  }

  async loadInputStates(runtimeId: RuntimeId, options?: CallOptions): Promise<StoredInputState[]> {
    const limits = readCall(options);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await loadAllInputStates(this.store, runtimeId, limits);
      } catch (error) {
        // The store could not show one state to the end: rows were written meanwhile.
        const isRepeatable = error instanceof StoreError && error.reason === "BUSY" && attempt < LOAD_ATTEMPTS;
        if (!isRepeatable) throw error;
      }
    }
  }

  async loadBoundaryReceipt(
    runtimeId: RuntimeId,
    runId: RunId,
    sequence: bigint,
    options?: CallOptions,
  ): Promise<RunBoundaryReceipt | undefined> {
    return (await this.store.loadBoundaryReceipt({ runtimeId, runId, sequence }, readCall(options)))?.value;
  }

  async loadSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined> {
    const loaded = await this.store.loadSessionSnapshot({ runtimeId }, readCall(options));
    return loaded && wholeDocument(loaded);
  }

  async clearSessionSnapshot(runtimeId: RuntimeId, options?: CallOptions): Promise<void> {
    await this.store.clearSessionSnapshot(this.runtimeMutation(runtimeId, options), call(options));
  }

  async replaceSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    replacement: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean> {
    const request = {
      ...this.runtimeMutation(runtimeId, options),
      expected: { document: expectedCurrent },
      replacement: { sessionSnapshot: replacement },
    };
    return (await this.store.replaceSessionSnapshotIfCurrent(request, call(options))) !== undefined;
  }

  async clearSessionSnapshotIfCurrent(
    runtimeId: RuntimeId,
    expectedCurrent: Uint8Array,
    options?: CallOptions,
  ): Promise<boolean> {
    const request = { ...this.runtimeMutation(runtimeId, options), expected: { document: expectedCurrent } };
    return (await this.store.clearSessionSnapshotIfCurrent(request, call(options))) !== undefined;
  }

  async persistInputState(runtimeId: RuntimeId, state: StoredInputState, options?: CallOptions): Promise<void> {
    // Without a row, the store would expect an upload.
    const given = converted("state", writeFailed, () => requireField(state, ""));
    await this.store.persistInputState({ ...this.runtimeMutation(runtimeId, options), state: given }, call(options));
  }

  async loadInputState(
    runtimeId: RuntimeId,
    inputId: InputId,
    options?: CallOptions,
  ): Promise<StoredInputState | undefined> {
    return (await this.store.loadInputState({ runtimeId, inputId }, readCall(options)))?.value;
  }

  async loadMachineLifecycleRecord(runtimeId: RuntimeId, options?: CallOptions): Promise<Uint8Array | undefined> {
    return (await this.store.loadMachineLifecycleRecord({ runtimeId }, readCall(options)))?.value;
  }

  async commitMachineLifecycle(
    runtimeId: RuntimeId,
    commit: MachineLifecycle,
    inputStates: readonly StoredInputState[],
    options?: CallOptions,
  ): Promise<void> {
    const record = converted("commit", writeFailed, () => encodeLifecycleRecord(commit));
    await this.store.commitMachineLifecycle(
      { ...this.runtimeMutation(runtimeId, options), record, inputStates },
      call(options),
    );
  }

  async persistOpsLifecycle(
    runtimeId: RuntimeId,
    snapshot: PersistedOpsSnapshot,
    options?: CallOptions,
  ): Promise<void> {
    // As JSON, because a value has a lower size limit.
    const opsDelta = { opsSnapshot: shaped("snapshot", writeFailed, () => writeOpsSnapshot(snapshot)) };
    converted("snapshot", writeFailed, () => opsSnapshot.refuseUnknown?.(snapshot));
    await this.store.persistOpsLifecycle({ ...this.runtimeMutation(runtimeId, options), opsDelta }, call(options));
  }

  async loadOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<PersistedOpsSnapshot | undefined> {
    const loaded = await this.store.loadOpsLifecycleJson({ runtimeId }, readCall(options));
    if (!loaded) return undefined;
    const json = await wholeDocument(loaded);
    try {
      return readOpsSnapshot(json);
    } catch (cause) {
      if (!(cause instanceof JsonError)) throw cause;
      const text = `stored operation snapshot cannot be read: ${cause.message}`;
      throw readFailed("DAMAGED_RECORD", text, { runtimeId, record: "operation snapshot", cause });
    }
  }

  async deleteOpsLifecycle(runtimeId: RuntimeId, options?: CallOptions): Promise<void> {
    await this.store.deleteOpsLifecycle(this.runtimeMutation(runtimeId, options), call(options));
  }

  /**
   * Deletes everything that is stored for a runtime, damaged or not, and returns what that was. A runtime that does not exist has
   * nothing to delete, which is no error. The reference has no such method.
   */
  async deleteRuntime(runtimeId: RuntimeId, options?: CallOptions): Promise<DeletedCounts> {
    const deleted = await this.store.deleteRuntime(this.runtimeMutation(runtimeId, options), call(options));
    const { inputStates, receipts, hadSessionSnapshot, hadMachineLifecycle, hadOpsLifecycle } = deleted;
    return { inputStates, receipts, hadSessionSnapshot, hadMachineLifecycle, hadOpsLifecycle };
  }

  private mutation(options: CallOptions | undefined): { requestId: string | undefined; expectedStoreId: string } {
    return { requestId: options?.requestId, expectedStoreId: this.storeId };
  }

  private runtimeMutation(runtimeId: RuntimeId, options: CallOptions | undefined): RuntimeMutation {
    return {
      ...this.mutation(options),
      runtimeId,
      expectedFenceToken: this.expectations.fenceToken,
      expectedVersions: this.expectations.versions,
    };
  }
}

async function wholeDocument({ chunks }: LoadedDocument): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  const [only = Buffer.of()] = all;
  return all.length <= 1 ? only : Buffer.concat(all);
}

async function loadAllInputStates(
  store: VersionedStore,
  runtimeId: RuntimeId,
  limits: Call,
): Promise<StoredInputState[]> {
  const states: StoredInputState[] = [];
  const { batches } = await store.loadInputStates({ runtimeId }, limits);
  for await (const batch of batches) {
    for (const { value } of batch) states.push(value);
  }
  return states;
}

/** The limits of a mutation. */
const call = (options: CallOptions | undefined): Call => callOf(options, writeFailed);

/** The limits of a load. */
const readCall = (options: CallOptions | undefined): Call => callOf(options, readFailed);
