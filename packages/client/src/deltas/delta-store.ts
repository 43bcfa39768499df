import type { Call, CommittedInput, Limits, VersionedStore } from "@bolthole/contract";
import type { ResolvedOptions } from "../connect-options.js";
import { ByteBudgetCache } from "./byte-budget-cache.js";
import { type CachedDocument, DocumentCache } from "./document-cache.js";
import { InputRowCache } from "./input-row-cache.js";
import { type UploadedRows, commitUploaded, needUpload, refuseLargeRows } from "./input-uploads.js";
import { RetryCache } from "./retry-cache.js";
import { type DeltaContext, sendDocument, sendExpected, sendInputs, sendOps } from "./send-changes.js";

export type DeltaOptions = Pick<
  ResolvedOptions,
  "documentCacheBytes" | "inputRowCacheBytes" | "timeoutMs" | "maxMessageBytes"
>;

/** The bytes of a request around its only row: ids and expectations. */
const SINGLE_ROW_MARGIN = 64 * 1024;

/** A larger document is uploaded: in one message it would block the connection and both processes. */
const MAX_MESSAGE_DOCUMENT_BYTES = 8 * 1024 * 1024;

/**
 * Creates a store that takes whole documents and all input rows of a runtime, and sends only the changes to `store`. It
 * returns the responses and errors that `store` would return for the same requests sent in full.
 */
export function createDeltaStore(store: VersionedStore, limits: Limits, options: DeltaOptions): VersionedStore {
  const context = createDeltaContext(store, limits, options);
  const { documentCache, opsCache, inputRowCache } = context;
  /** Sets the deadline once, so that it covers all requests of the call. */
  const withDeadline = (call: Call = {}): Call => ({
    ...call,
    deadline: call.deadline ?? Date.now() + options.timeoutMs,
  });

  // Each method is listed, and none is spread from `store`: the compiler reports a new method that is missing here. Decide
  // whether it reads or changes a session document or an input row, since then it must use or update the caches.
  return {
    commitSessionSnapshot(request, call) {
      const limited = withDeadline(call);
      return sendDocument(context, request, request.sessionDelta, limited, (sessionDelta) =>
        store.commitSessionSnapshot({ ...request, sessionDelta }, limited),
      );
    },

    commitSessionTranscriptRewriteSnapshot(request, call) {
      const limited = withDeadline(call);
      return sendDocument(context, request, request.sessionDelta, limited, (sessionDelta) =>
        store.commitSessionTranscriptRewriteSnapshot({ ...request, sessionDelta }, limited),
      );
    },

    atomicApply(request, call) {
      const limited = withDeadline(call);
      const callersRows = { rows: request.inputUpdates, field: "input_updates", inputUploadId: request.inputUploadId };
      const apply = (sessionDelta: typeof request.sessionDelta) =>
        sendInputs(context, request, callersRows, limited, ({ rows: inputUpdates, ...sent }) =>
          store.atomicApply({ ...request, sessionDelta, inputUpdates, ...sent }, limited),
        );
      return request.sessionDelta
        ? sendDocument(context, request, request.sessionDelta, limited, apply)
        : apply(undefined);
    },

    commitMachineLifecycle(request, call) {
      const limited = withDeadline(call);
      const callersRows = { rows: request.inputStates, field: "input_states", inputUploadId: request.inputUploadId };
      return sendInputs(context, request, callersRows, limited, ({ rows: inputStates, ...sent }) =>
        store.commitMachineLifecycle({ ...request, inputStates, ...sent }, limited),
      );
    },

    replaceSessionSnapshotIfCurrent(request, call) {
      const limited = withDeadline(call);
      return sendDocument(context, request, request.replacement, limited, (replacement) =>
        sendExpected(context, request, (expected) =>
          store.replaceSessionSnapshotIfCurrent({ ...request, expected, replacement }, limited),
        ),
      );
    },

    async clearSessionSnapshotIfCurrent(request, call) {
      const limited = withDeadline(call);
      const response = await sendExpected(context, request, (expected) =>
        store.clearSessionSnapshotIfCurrent({ ...request, expected }, limited),
      );
      if (response) documentCache.forget(request.runtimeId);
      return response;
    },

    async clearSessionSnapshot(request, call) {
      const response = await store.clearSessionSnapshot(request, call);
      documentCache.forget(request.runtimeId);
      return response;
    },

    async deleteRuntime(request, call) {
      const response = await store.deleteRuntime(request, call);
      documentCache.forget(request.runtimeId);
      opsCache.forget(request.runtimeId);
      inputRowCache.forget(request.runtimeId);
      return response;
    },

    async loadSessionSnapshot(request, call) {
      const loaded = await store.loadSessionSnapshot(request, call);
      if (loaded) return documentCache.observe(request.runtimeId, loaded);
      documentCache.forget(request.runtimeId);
      return undefined;
    },

    persistOpsLifecycle(request, call) {
      return sendOps(context, request, withDeadline(call));
    },

    async deleteOpsLifecycle(request, call) {
      const response = await store.deleteOpsLifecycle(request, call);
      opsCache.forget(request.runtimeId);
      return response;
    },

    async loadOpsLifecycleJson(request, call) {
      const loaded = await store.loadOpsLifecycleJson(request, call);
      if (loaded) return opsCache.observe(request.runtimeId, loaded);
      opsCache.forget(request.runtimeId);
      return undefined;
    },

    async persistInputState(request, call) {
      const { runtimeId, state, requestId } = request;
      if (state === undefined) {
        const response = await store.persistInputState(request, call);
        inputRowCache.forget(runtimeId);
        return response;
      }
      const { rowLimits } = context;
      const fieldOf = (): string => "state";
      refuseLargeRows(rowLimits, [state], fieldOf);
      const update = inputRowCache.writeOne(runtimeId, state);
      const persist = (): Promise<CommittedInput> => {
        if (!needUpload(context.singleRowLimits, [state])) return store.persistInputState(request, call);
        const limited = withDeadline(call);
        const commit = (uploaded: UploadedRows) =>
          store.persistInputState({ ...request, state: undefined, ...uploaded }, limited);
        const change = { store, runtimeId, requestId, rows: [state], fieldOf, field: "state", limits: rowLimits };
        return commitUploaded({ ...change, call: limited, commit });
      };
      const response = await persist();
      update(response);
      return response;
    },

    async loadInputStates(request, call) {
      return inputRowCache.observe(request.runtimeId, await store.loadInputStates(request, call));
    },

    // Passed on unchanged. One input row alone does not say which version all rows together have.
    loadInputState: store.loadInputState,
    // The caller names its own upload in a later request.
    uploadSessionSnapshot: store.uploadSessionSnapshot,
    uploadInputStates: store.uploadInputStates,
    // These methods have no document and no input row.
    authAuthorityKey: store.authAuthorityKey,
    persistAuthOauthFlowSnapshot: store.persistAuthOauthFlowSnapshot,
    loadAuthOauthFlowSnapshot: store.loadAuthOauthFlowSnapshot,
    updateAuthOauthFlowSnapshot: store.updateAuthOauthFlowSnapshot,
    loadBoundaryReceipt: store.loadBoundaryReceipt,
    loadMachineLifecycleRecord: store.loadMachineLifecycleRecord,
    // A value is not the JSON that is stored.
    loadOpsLifecycle: store.loadOpsLifecycle,
    listRuntimes: store.listRuntimes,
    getCommit: store.getCommit,
    getServerInfo: store.getServerInfo,
  };
}

function createDeltaContext(store: VersionedStore, limits: Limits, options: DeltaOptions): DeltaContext {
  const requestBytes = Math.min(limits.requestBytes || Infinity, options.maxMessageBytes);
  const rowLimits = {
    inputRowBytes: limits.inputRowBytes || Infinity,
    batchRows: limits.batchRows,
    inputUploadRows: limits.inputUploadRows,
    inputUploadBytes: limits.inputUploadBytes,
    // Half of a message: the other half is for the document, the receipt and everything else.
    rowsAbove: Math.floor(requestBytes / 2),
  };
  // Half of a message, so that everything else in the request fits beside the document.
  const uploadAbove = Math.max(
    1,
    Math.floor(Math.min(MAX_MESSAGE_DOCUMENT_BYTES, limits.requestBytes / 2, options.maxMessageBytes / 2)),
  );
  const documents = new ByteBudgetCache<CachedDocument>(options.documentCacheBytes);
  return {
    store,
    documentCache: new DocumentCache(documents, "session_snapshot"),
    opsCache: new DocumentCache(documents, "ops_lifecycle"),
    inputRowCache: new InputRowCache(options.inputRowCacheBytes),
    retryCache: new RetryCache(options.documentCacheBytes),
    patchLimits: {
      patchPieces: limits.patchPieces,
      patchInsertBytes: Math.min(limits.patchInsertBytes, uploadAbove),
    },
    operationSnapshotBytes: limits.operationSnapshotBytes,
    rowLimits,
    // A single row has the whole message, except for the ids beside it.
    singleRowLimits: { ...rowLimits, rowsAbove: requestBytes - SINGLE_ROW_MARGIN },
    uploadAbove,
  };
}
