import type { Call, Limits, VersionedStore } from "@bolthole/contract";
import { HeldDocuments } from "./held-documents.js";
import { KnownInputs } from "./known-inputs.js";
import { sendDocument } from "./send-document.js";
import { sendExpected } from "./send-expected.js";
import { sendInputs } from "./send-inputs.js";
import type { Sending } from "./sending.js";
import { Unanswered } from "./unanswered.js";

export interface DeltaOptions {
  /** Of held documents and known rows; 0 for none. */
  readonly heldDocumentBytes: number;
  readonly knownInputBytes: number;
  /** Milliseconds for each call, with everything that is sent for it, unless the call says otherwise. */
  readonly timeoutMs: number;
  /** Of one message. */
  readonly maxMessageBytes: number;
}

/** The whole of a larger document is uploaded: in one request it would hold up the connection and both processes. */
const UPLOAD_ABOVE = 8 * 1024 * 1024;

/**
 * A store that is handed whole documents and whole ledgers, and sends what changed. Answers and refusals are those of
 * the same request sent whole.
 */
export function createDeltaStore(store: VersionedStore, limits: Limits, options: DeltaOptions): VersionedStore {
  const documents = new HeldDocuments(options.heldDocumentBytes);
  const inputs = new KnownInputs(options.knownInputBytes);
  const unanswered = new Unanswered(options.heldDocumentBytes);
  // Room for everything else in the request.
  const uploadAbove = Math.max(
    1,
    Math.floor(Math.min(UPLOAD_ABOVE, limits.requestBytes / 2, options.maxMessageBytes / 2)),
  );
  const { batchRows, patchPieces } = limits;
  const patchLimits = { patchPieces, patchInsertBytes: Math.min(limits.patchInsertBytes, uploadAbove) };
  const sending: Sending = { store, documents, inputs, unanswered, patchLimits, batchRows, uploadAbove };
  /** One deadline for all requests that become of a call. */
  const within = (call: Call = {}): Call => ({ ...call, deadline: call.deadline ?? Date.now() + options.timeoutMs });

  return {
    ...store,

    commitSessionSnapshot(request, call) {
      const limit = within(call);
      return sendDocument(sending, request, request.sessionDelta, limit, (sessionDelta) =>
        store.commitSessionSnapshot({ ...request, sessionDelta }, limit),
      );
    },

    commitSessionTranscriptRewriteSnapshot(request, call) {
      const limit = within(call);
      return sendDocument(sending, request, request.sessionDelta, limit, (sessionDelta) =>
        store.commitSessionTranscriptRewriteSnapshot({ ...request, sessionDelta }, limit),
      );
    },

    atomicApply(request, call) {
      const limit = within(call);
      const apply = (sessionDelta: typeof request.sessionDelta) =>
        sendInputs(sending, request, request.inputUpdates, (inputUpdates, unchangedInputs) =>
          store.atomicApply({ ...request, sessionDelta, inputUpdates, unchangedInputs }, limit),
        );
      return request.sessionDelta
        ? sendDocument(sending, request, request.sessionDelta, limit, apply)
        : apply(undefined);
    },

    commitMachineLifecycle(request, call) {
      const limit = within(call);
      return sendInputs(sending, request, request.inputStates, (inputStates, unchangedInputs) =>
        store.commitMachineLifecycle({ ...request, inputStates, unchangedInputs }, limit),
      );
    },

    async persistInputState(request, call) {
      const learn = inputs.one(request.runtimeId, request.state);
      const answer = await store.persistInputState(request, call);
      learn(answer);
      return answer;
    },

    async loadInputStates(request, call) {
      return inputs.observe(request.runtimeId, await store.loadInputStates(request, call));
    },

    async loadSessionSnapshot(request, call) {
      const loaded = await store.loadSessionSnapshot(request, call);
      if (loaded) return documents.observe(request.runtimeId, loaded);
      documents.forget(request.runtimeId);
      return undefined;
    },

    async clearSessionSnapshot(request, call) {
      const answer = await store.clearSessionSnapshot(request, call);
      documents.forget(request.runtimeId);
      return answer;
    },

    replaceSessionSnapshotIfCurrent(request, call) {
      const limit = within(call);
      return sendDocument(sending, request, request.replacement, limit, (replacement) =>
        sendExpected(sending, request, (expected) =>
          store.replaceSessionSnapshotIfCurrent({ ...request, expected, replacement }, limit),
        ),
      );
    },

    async clearSessionSnapshotIfCurrent(request, call) {
      const limit = within(call);
      const answer = await sendExpected(sending, request, (expected) =>
        store.clearSessionSnapshotIfCurrent({ ...request, expected }, limit),
      );
      if (answer) documents.forget(request.runtimeId);
      return answer;
    },
  };
}
