import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { MachineLifecycleRecordSchema } from "../gen/bolthole/v1/lifecycle_pb.js";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import type { StoredInputState } from "@bolthole/json/model";
import type {
  CommitStatus,
  LoadInputStates,
  OfRuntime,
  UpdatedOauth,
  Versioned,
  VersionedStore,
} from "../versioned-store.js";
import type { StreamCodec, UnaryCodec, UploadCodec } from "./codec.js";
import { stream, unary, upload } from "./codec.js";
import { enumCodec } from "./enum-codec.js";
import { fromInputBatches, toInputBatches } from "./input-batches.js";
import { fromInputState, toInputState } from "./input-state.js";
import { requireField } from "./invalid-argument.js";
import {
  fromExpectedSnapshot,
  fromMutation,
  fromRuntimeMutation,
  fromCommittedInputs,
  toCommitted,
  toCommittedInput,
  toCommittedInputs,
  toExpectedSnapshot,
  toMutation,
  toRuntimeMutation,
  toUnchangedInputs,
  toVersionOrAbsent,
} from "./mutation.js";
import { fromOpsSnapshot, toOpsSnapshot } from "./operations.js";
import { fromReceipt, toReceipt } from "./receipt.js";
import { fromServerInfo, toServerInfo } from "./server-info.js";
import { fromRewriteCommit, fromSessionChange, toRewriteCommit, toSessionChange } from "./session.js";
import { fromSnapshotParts, toSnapshotParts } from "./snapshot-parts.js";
import { fromUpload, toUpload } from "./upload-parts.js";

const rpc = pb.RuntimeStoreService.method;

const COMMIT_STATES: readonly CommitStatus["state"][] = ["applied", "pending", "not_found", "sealed", "expired"];
const commitState = enumCodec(pb.CommitStateSchema, COMMIT_STATES);

const ofRuntime = {
  decodeRequest: (message: { runtimeId?: string | undefined }): OfRuntime => ({
    runtimeId: requireField(message.runtimeId, "runtime_id"),
  }),
  encodeRequest: (request: OfRuntime) => ({ runtimeId: request.runtimeId }),
};
const noArguments = { decodeRequest: () => ({}), encodeRequest: () => ({}) };
const runtimeMutation = { decodeRequest: toRuntimeMutation, encodeRequest: fromRuntimeMutation };
const committed = { decodeResponse: toCommitted, encodeResponse: toCommitted };

const committedInput = { decodeResponse: toCommittedInput, encodeResponse: toCommittedInput };
const committedInputs = { decodeResponse: toCommittedInputs, encodeResponse: fromCommittedInputs };

const inputStates = (messages: readonly Parameters<typeof toInputState>[0][], field: string): StoredInputState[] =>
  messages.map((message, index) => toInputState(message, `${field}[${String(index)}]`));

/* eslint-disable @typescript-eslint/no-explicit-any -- only `any` lets the message types vary from entry to entry */
type CodecOf<Method> = Method extends (request: infer Request, ...rest: never[]) => infer Answer
  ? | UnaryCodec<Request, Awaited<Answer>, any, any>
    | StreamCodec<Request, Answer, any, any>
    | UploadCodec<Request, Awaited<Answer>, any, any>
  : never;
/* eslint-enable @typescript-eslint/no-explicit-any */

/** How each method of `VersionedStore` travels: one entry for each RPC, used by the daemon and by the client. */
export const storeCodecs = {
  authAuthorityKey: unary(rpc.authAuthorityKey, {
    ...noArguments,
    decodeResponse: (message) => message.key,
    encodeResponse: (key) => ({ key }),
  }),
  persistAuthOauthFlowSnapshot: unary(rpc.persistAuthOauthFlowSnapshot, {
    decodeRequest: (message) => ({ ...toMutation(message), snapshot: message.snapshot }),
    encodeRequest: (request) => ({ ...fromMutation(request), snapshot: request.snapshot }),
    ...committed,
  }),
  loadAuthOauthFlowSnapshot: unary(rpc.loadAuthOauthFlowSnapshot, {
    ...noArguments,
    decodeResponse: ({ snapshot, version }) => snapshot && { value: snapshot, version },
    encodeResponse: (loaded: Versioned<Uint8Array> | undefined) =>
      loaded ? { snapshot: loaded.value, version: loaded.version } : {},
  }),
  updateAuthOauthFlowSnapshot: unary(rpc.updateAuthOauthFlowSnapshot, {
    decodeRequest: (message) => ({
      ...toMutation(message),
      expected: toVersionOrAbsent(message.expected),
      snapshot: message.snapshot,
    }),
    encodeRequest: (request) => ({
      ...fromMutation(request),
      expected:
        request.expected === undefined
          ? { case: "absent" as const, value: true }
          : { case: "version" as const, value: request.expected },
      snapshot: request.snapshot,
    }),
    decodeResponse: ({ updated, version, replayed, current }): UpdatedOauth =>
      updated ? { updated, version, replayed } : { updated, current: current && { value: current, version } },
    encodeResponse: (answer) =>
      answer.updated
        ? { updated: true, version: answer.version, replayed: answer.replayed }
        : { updated: false, version: answer.current?.version ?? "", current: answer.current?.value },
  }),
  commitSessionSnapshot: unary(rpc.commitSessionSnapshot, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: toSessionChange(requireField(message.sessionDelta, "session_delta"), "session_delta"),
    }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      sessionDelta: fromSessionChange(request.sessionDelta),
    }),
    ...committed,
  }),
  commitSessionTranscriptRewriteSnapshot: unary(rpc.commitSessionTranscriptRewriteSnapshot, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: toSessionChange(requireField(message.sessionDelta, "session_delta"), "session_delta"),
      commit: toRewriteCommit(requireField(message.commit, "commit"), "commit"),
    }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      sessionDelta: fromSessionChange(request.sessionDelta),
      commit: fromRewriteCommit(request.commit),
    }),
    ...committed,
  }),
  atomicApply: unary(rpc.atomicApply, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: message.sessionDelta && toSessionChange(message.sessionDelta, "session_delta"),
      receipt: toReceipt(requireField(message.receipt, "receipt"), "receipt"),
      inputUpdates: inputStates(message.inputUpdates, "input_updates"),
      unchangedInputs: toUnchangedInputs(message.unchangedInputs),
      sessionStoreKey: message.sessionStoreKey,
    }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      sessionDelta: request.sessionDelta && fromSessionChange(request.sessionDelta),
      receipt: fromReceipt(request.receipt),
      inputUpdates: request.inputUpdates.map(fromInputState),
      unchangedInputs: request.unchangedInputs,
      sessionStoreKey: request.sessionStoreKey,
    }),
    ...committedInputs,
  }),
  loadInputStates: stream(rpc.loadInputStates, {
    decodeRequest: (message): LoadInputStates => ({
      ...ofRuntime.decodeRequest(message),
      eachOutcome: message.eachOutcome,
    }),
    encodeRequest: ({ runtimeId, eachOutcome }) => ({ runtimeId, ...(eachOutcome && { eachOutcome }) }),
    decodeResponse: toInputBatches,
    encodeResponse: fromInputBatches,
  }),
  loadBoundaryReceipt: unary(rpc.loadBoundaryReceipt, {
    decodeRequest: (message) => ({
      ...ofRuntime.decodeRequest(message),
      runId: message.runId,
      sequence: message.sequence,
    }),
    encodeRequest: ({ runtimeId, runId, sequence }) => ({ runtimeId, runId, sequence }),
    decodeResponse: ({ receipt, version }) => receipt && { value: toReceipt(receipt, "receipt"), version },
    encodeResponse: (loaded) => (loaded ? { receipt: fromReceipt(loaded.value), version: loaded.version } : {}),
  }),
  loadSessionSnapshot: stream(rpc.loadSessionSnapshot, {
    ...ofRuntime,
    decodeResponse: toSnapshotParts,
    encodeResponse: fromSnapshotParts,
  }),
  uploadSessionSnapshot: upload(rpc.uploadSessionSnapshot, {
    decodeRequest: toUpload,
    encodeRequest: fromUpload,
    decodeResponse: ({ uploadId }) => uploadId,
    encodeResponse: (uploadId) => ({ uploadId }),
  }),
  clearSessionSnapshot: unary(rpc.clearSessionSnapshot, { ...runtimeMutation, ...committed }),
  replaceSessionSnapshotIfCurrent: unary(rpc.replaceSessionSnapshotIfCurrent, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      expected: toExpectedSnapshot(message.expected),
      replacement: toSessionChange(requireField(message.replacement, "replacement"), "replacement"),
    }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      expected: fromExpectedSnapshot(request.expected),
      replacement: fromSessionChange(request.replacement),
    }),
    decodeResponse: (message) => (message.replaced ? toCommitted(message) : undefined),
    encodeResponse: (answer) => (answer ? { ...toCommitted(answer), replaced: true } : {}),
  }),
  clearSessionSnapshotIfCurrent: unary(rpc.clearSessionSnapshotIfCurrent, {
    decodeRequest: (message) => ({ ...toRuntimeMutation(message), expected: toExpectedSnapshot(message.expected) }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      expected: fromExpectedSnapshot(request.expected),
    }),
    decodeResponse: (message) => (message.cleared ? toCommitted(message) : undefined),
    encodeResponse: (answer) => (answer ? { ...toCommitted(answer), cleared: true } : {}),
  }),
  persistInputState: unary(rpc.persistInputState, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      state: toInputState(requireField(message.state, "state"), "state"),
    }),
    encodeRequest: (request) => ({ ...fromRuntimeMutation(request), state: fromInputState(request.state) }),
    ...committedInput,
  }),
  loadInputState: unary(rpc.loadInputState, {
    decodeRequest: (message) => ({ ...ofRuntime.decodeRequest(message), inputId: message.inputId }),
    encodeRequest: ({ runtimeId, inputId }) => ({ runtimeId, inputId }),
    decodeResponse: ({ state, version }) => state && { value: toInputState(state, "state"), version },
    encodeResponse: (loaded) => (loaded ? { state: fromInputState(loaded.value), version: loaded.version } : {}),
  }),
  loadMachineLifecycleRecord: unary(rpc.loadMachineLifecycleRecord, {
    ...ofRuntime,
    decodeResponse: ({ record, version }) =>
      record && { value: toBinary(MachineLifecycleRecordSchema, record), version },
    encodeResponse: (loaded: Versioned<Uint8Array> | undefined) =>
      loaded ? { record: fromBinary(MachineLifecycleRecordSchema, loaded.value), version: loaded.version } : {},
  }),
  commitMachineLifecycle: unary(rpc.commitMachineLifecycle, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      record: toBinary(MachineLifecycleRecordSchema, requireField(message.record, "record")),
      inputStates: inputStates(message.inputStates, "input_states"),
      unchangedInputs: toUnchangedInputs(message.unchangedInputs),
    }),
    encodeRequest: (request) => ({
      ...fromRuntimeMutation(request),
      record: fromBinary(MachineLifecycleRecordSchema, request.record),
      inputStates: request.inputStates.map(fromInputState),
      unchangedInputs: request.unchangedInputs,
    }),
    ...committedInputs,
  }),
  persistOpsLifecycle: unary(rpc.persistOpsLifecycle, {
    decodeRequest: (message) => ({
      ...toRuntimeMutation(message),
      snapshot: toOpsSnapshot(requireField(message.snapshot, "snapshot"), "snapshot"),
    }),
    encodeRequest: (request) => ({ ...fromRuntimeMutation(request), snapshot: fromOpsSnapshot(request.snapshot) }),
    ...committed,
  }),
  loadOpsLifecycle: unary(rpc.loadOpsLifecycle, {
    ...ofRuntime,
    decodeResponse: ({ snapshot, version }) => snapshot && { value: toOpsSnapshot(snapshot, "snapshot"), version },
    encodeResponse: (loaded) => (loaded ? { snapshot: fromOpsSnapshot(loaded.value), version: loaded.version } : {}),
  }),
  deleteOpsLifecycle: unary(rpc.deleteOpsLifecycle, { ...runtimeMutation, ...committed }),
  listRuntimes: unary(rpc.listRuntimes, {
    decodeRequest: ({ pageSize, pageToken }) => ({ pageSize, pageToken }),
    encodeRequest: ({ pageSize, pageToken }) => ({ pageSize, pageToken }),
    decodeResponse: ({ runtimes, nextPageToken }) => ({
      runtimes: runtimes.map(({ $typeName: _, ...summary }) => summary),
      nextPageToken,
    }),
    encodeResponse: (page) => ({ runtimes: [...page.runtimes], nextPageToken: page.nextPageToken }),
  }),
  getCommit: unary(rpc.getCommit, {
    decodeRequest: ({ requestId, seal }) => ({ requestId, seal }),
    encodeRequest: ({ requestId, seal }) => ({ requestId, seal }),
    decodeResponse: ({ state, version, method }): CommitStatus => {
      const text = commitState.toModel(state, "state");
      return text === "applied" ? { state: text, version, method } : { state: text };
    },
    encodeResponse: (answer) => ({ ...answer, state: commitState.toWire(answer.state) }),
  }),
  getServerInfo: unary(rpc.getServerInfo, {
    ...noArguments,
    decodeResponse: toServerInfo,
    encodeResponse: fromServerInfo,
  }),
} as const satisfies { [M in keyof VersionedStore]: CodecOf<VersionedStore[M]> };

export type StoreCodecs = typeof storeCodecs;
