import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { MachineLifecycleRecordSchema } from "../gen/bolthole/v1/lifecycle_pb.js";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import type { StoredInputState } from "../model/index.js";
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
import { required } from "./invalid-argument.js";
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
  toRequest: (message: { runtimeId?: string | undefined }): OfRuntime => ({
    runtimeId: required(message.runtimeId, "runtime_id"),
  }),
  fromRequest: (request: OfRuntime) => ({ runtimeId: request.runtimeId }),
};
const noArguments = { toRequest: () => ({}), fromRequest: () => ({}) };
const runtimeMutation = { toRequest: toRuntimeMutation, fromRequest: fromRuntimeMutation };
const committed = { toAnswer: toCommitted, fromAnswer: toCommitted };

const committedInput = { toAnswer: toCommittedInput, fromAnswer: toCommittedInput };
const committedInputs = { toAnswer: toCommittedInputs, fromAnswer: fromCommittedInputs };

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
    toAnswer: (message) => message.key,
    fromAnswer: (key) => ({ key }),
  }),
  persistAuthOauthFlowSnapshot: unary(rpc.persistAuthOauthFlowSnapshot, {
    toRequest: (message) => ({ ...toMutation(message), snapshot: message.snapshot }),
    fromRequest: (request) => ({ ...fromMutation(request), snapshot: request.snapshot }),
    ...committed,
  }),
  loadAuthOauthFlowSnapshot: unary(rpc.loadAuthOauthFlowSnapshot, {
    ...noArguments,
    toAnswer: ({ snapshot, version }) => snapshot && { value: snapshot, version },
    fromAnswer: (loaded: Versioned<Uint8Array> | undefined) =>
      loaded ? { snapshot: loaded.value, version: loaded.version } : {},
  }),
  updateAuthOauthFlowSnapshot: unary(rpc.updateAuthOauthFlowSnapshot, {
    toRequest: (message) => ({
      ...toMutation(message),
      expected: toVersionOrAbsent(message.expected),
      snapshot: message.snapshot,
    }),
    fromRequest: (request) => ({
      ...fromMutation(request),
      expected:
        request.expected === undefined
          ? { case: "absent" as const, value: true }
          : { case: "version" as const, value: request.expected },
      snapshot: request.snapshot,
    }),
    toAnswer: ({ updated, version, replayed, current }): UpdatedOauth =>
      updated ? { updated, version, replayed } : { updated, current: current && { value: current, version } },
    fromAnswer: (answer) =>
      answer.updated
        ? { updated: true, version: answer.version, replayed: answer.replayed }
        : { updated: false, version: answer.current?.version ?? "", current: answer.current?.value },
  }),
  commitSessionSnapshot: unary(rpc.commitSessionSnapshot, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: toSessionChange(required(message.sessionDelta, "session_delta"), "session_delta"),
    }),
    fromRequest: (request) => ({
      ...fromRuntimeMutation(request),
      sessionDelta: fromSessionChange(request.sessionDelta),
    }),
    ...committed,
  }),
  commitSessionTranscriptRewriteSnapshot: unary(rpc.commitSessionTranscriptRewriteSnapshot, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: toSessionChange(required(message.sessionDelta, "session_delta"), "session_delta"),
      commit: toRewriteCommit(required(message.commit, "commit"), "commit"),
    }),
    fromRequest: (request) => ({
      ...fromRuntimeMutation(request),
      sessionDelta: fromSessionChange(request.sessionDelta),
      commit: fromRewriteCommit(request.commit),
    }),
    ...committed,
  }),
  atomicApply: unary(rpc.atomicApply, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      sessionDelta: message.sessionDelta && toSessionChange(message.sessionDelta, "session_delta"),
      receipt: toReceipt(required(message.receipt, "receipt"), "receipt"),
      inputUpdates: inputStates(message.inputUpdates, "input_updates"),
      unchangedInputs: toUnchangedInputs(message.unchangedInputs),
      sessionStoreKey: message.sessionStoreKey,
    }),
    fromRequest: (request) => ({
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
    toRequest: (message): LoadInputStates => ({ ...ofRuntime.toRequest(message), eachOutcome: message.eachOutcome }),
    fromRequest: ({ runtimeId, eachOutcome }) => ({ runtimeId, ...(eachOutcome && { eachOutcome }) }),
    toAnswer: toInputBatches,
    fromAnswer: fromInputBatches,
  }),
  loadBoundaryReceipt: unary(rpc.loadBoundaryReceipt, {
    toRequest: (message) => ({ ...ofRuntime.toRequest(message), runId: message.runId, sequence: message.sequence }),
    fromRequest: ({ runtimeId, runId, sequence }) => ({ runtimeId, runId, sequence }),
    toAnswer: ({ receipt, version }) => receipt && { value: toReceipt(receipt, "receipt"), version },
    fromAnswer: (loaded) => (loaded ? { receipt: fromReceipt(loaded.value), version: loaded.version } : {}),
  }),
  loadSessionSnapshot: stream(rpc.loadSessionSnapshot, {
    ...ofRuntime,
    toAnswer: toSnapshotParts,
    fromAnswer: fromSnapshotParts,
  }),
  uploadSessionSnapshot: upload(rpc.uploadSessionSnapshot, {
    toRequest: toUpload,
    fromRequest: fromUpload,
    toAnswer: ({ uploadId }) => uploadId,
    fromAnswer: (uploadId) => ({ uploadId }),
  }),
  clearSessionSnapshot: unary(rpc.clearSessionSnapshot, { ...runtimeMutation, ...committed }),
  replaceSessionSnapshotIfCurrent: unary(rpc.replaceSessionSnapshotIfCurrent, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      expected: toExpectedSnapshot(message.expected),
      replacement: toSessionChange(required(message.replacement, "replacement"), "replacement"),
    }),
    fromRequest: (request) => ({
      ...fromRuntimeMutation(request),
      expected: fromExpectedSnapshot(request.expected),
      replacement: fromSessionChange(request.replacement),
    }),
    toAnswer: (message) => (message.replaced ? toCommitted(message) : undefined),
    fromAnswer: (answer) => (answer ? { ...toCommitted(answer), replaced: true } : {}),
  }),
  clearSessionSnapshotIfCurrent: unary(rpc.clearSessionSnapshotIfCurrent, {
    toRequest: (message) => ({ ...toRuntimeMutation(message), expected: toExpectedSnapshot(message.expected) }),
    fromRequest: (request) => ({
      ...fromRuntimeMutation(request),
      expected: fromExpectedSnapshot(request.expected),
    }),
    toAnswer: (message) => (message.cleared ? toCommitted(message) : undefined),
    fromAnswer: (answer) => (answer ? { ...toCommitted(answer), cleared: true } : {}),
  }),
  persistInputState: unary(rpc.persistInputState, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      state: toInputState(required(message.state, "state"), "state"),
    }),
    fromRequest: (request) => ({ ...fromRuntimeMutation(request), state: fromInputState(request.state) }),
    ...committedInput,
  }),
  loadInputState: unary(rpc.loadInputState, {
    toRequest: (message) => ({ ...ofRuntime.toRequest(message), inputId: message.inputId }),
    fromRequest: ({ runtimeId, inputId }) => ({ runtimeId, inputId }),
    toAnswer: ({ state, version }) => state && { value: toInputState(state, "state"), version },
    fromAnswer: (loaded) => (loaded ? { state: fromInputState(loaded.value), version: loaded.version } : {}),
  }),
  loadMachineLifecycleRecord: unary(rpc.loadMachineLifecycleRecord, {
    ...ofRuntime,
    toAnswer: ({ record, version }) => record && { value: toBinary(MachineLifecycleRecordSchema, record), version },
    fromAnswer: (loaded: Versioned<Uint8Array> | undefined) =>
      loaded ? { record: fromBinary(MachineLifecycleRecordSchema, loaded.value), version: loaded.version } : {},
  }),
  commitMachineLifecycle: unary(rpc.commitMachineLifecycle, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      record: toBinary(MachineLifecycleRecordSchema, required(message.record, "record")),
      inputStates: inputStates(message.inputStates, "input_states"),
      unchangedInputs: toUnchangedInputs(message.unchangedInputs),
    }),
    fromRequest: (request) => ({
      ...fromRuntimeMutation(request),
      record: fromBinary(MachineLifecycleRecordSchema, request.record),
      inputStates: request.inputStates.map(fromInputState),
      unchangedInputs: request.unchangedInputs,
    }),
    ...committedInputs,
  }),
  persistOpsLifecycle: unary(rpc.persistOpsLifecycle, {
    toRequest: (message) => ({
      ...toRuntimeMutation(message),
      snapshot: toOpsSnapshot(required(message.snapshot, "snapshot"), "snapshot"),
    }),
    fromRequest: (request) => ({ ...fromRuntimeMutation(request), snapshot: fromOpsSnapshot(request.snapshot) }),
    ...committed,
  }),
  loadOpsLifecycle: unary(rpc.loadOpsLifecycle, {
    ...ofRuntime,
    toAnswer: ({ snapshot, version }) => snapshot && { value: toOpsSnapshot(snapshot, "snapshot"), version },
    fromAnswer: (loaded) => (loaded ? { snapshot: fromOpsSnapshot(loaded.value), version: loaded.version } : {}),
  }),
  deleteOpsLifecycle: unary(rpc.deleteOpsLifecycle, { ...runtimeMutation, ...committed }),
  listRuntimes: unary(rpc.listRuntimes, {
    toRequest: ({ pageSize, pageToken }) => ({ pageSize, pageToken }),
    fromRequest: ({ pageSize, pageToken }) => ({ pageSize, pageToken }),
    toAnswer: ({ runtimes, nextPageToken }) => ({
      runtimes: runtimes.map(({ $typeName: _, ...summary }) => summary),
      nextPageToken,
    }),
    fromAnswer: (page) => ({ runtimes: [...page.runtimes], nextPageToken: page.nextPageToken }),
  }),
  getCommit: unary(rpc.getCommit, {
    toRequest: ({ requestId, seal }) => ({ requestId, seal }),
    fromRequest: ({ requestId, seal }) => ({ requestId, seal }),
    toAnswer: ({ state, version, method }): CommitStatus => {
      const text = commitState.toModel(state, "state");
      return text === "applied" ? { state: text, version, method } : { state: text };
    },
    fromAnswer: (answer) => ({ ...answer, state: commitState.toWire(answer.state) }),
  }),
  getServerInfo: unary(rpc.getServerInfo, { ...noArguments, toAnswer: toServerInfo, fromAnswer: fromServerInfo }),
} as const satisfies { [M in keyof VersionedStore]: CodecOf<VersionedStore[M]> };

export type StoreCodecs = typeof storeCodecs;
