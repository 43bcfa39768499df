import { type Message, type MessageInitShape, create } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import type {
  CommitMachineLifecycle,
  CommitStatus,
  Committed,
  ExpectedSnapshot,
  InputsVersions,
  KeptInput,
  Limits,
  OutcomeRetention,
  RuntimeSummary,
  UnchangedInputs,
  UpdatedOauth,
  VersionedStore,
} from "../versioned-store.js";
import { namedSnapshot } from "../versioned-store.js";
import { refuseOthers, requireBytes, requireObject } from "./field-types.js";
import { expectedVersions, versionOrAbsent } from "./expected-versions.js";
import { lifecycleOf, lifecycleRecordOrNone, loadedLifecycle } from "./lifecycle-fields.js";
import { formOf, loaded, loadedInForm } from "./loaded-record.js";
import {
  type Codec,
  InvalidArgumentError,
  type MessageCodec,
  at,
  enumeration,
  flag,
  list,
  message,
  optional,
  required,
  roundedNumber,
  same,
} from "./message-codec.js";
import { type ServiceCodecs, stream, unary, upload } from "./method-codec.js";
import { inputState, inputStateAsJson, lifecycleAsJson, receipt, receiptAsJson, rewriteCommit } from "./json-form.js";
import { opsSnapshot } from "./records.js";
import { requestIdTimes } from "./request-id-times.js";
import { opsDelta, sessionChange } from "./session-change.js";
import {
  inputUploadStart,
  readInputStates,
  readInputUpload,
  readOpsJson,
  readSnapshot,
  readUpload,
  refuseBesideInputUpload,
  refuseBesideUpload,
  uploadStart,
  writeInputStates,
  writeInputUpload,
  writeOpsJson,
  writeSnapshot,
  writeUpload,
} from "./streams.js";

type VersionOrSha256 = pb.ReplaceSessionSnapshotIfCurrentRequest["expected"];

/** The snapshot that must be stored. Bytes are sent as their SHA-256. */
const expectedSnapshot: Codec<VersionOrSha256, ExpectedSnapshot> = {
  toModel: (wire) => {
    if (wire.case === "version") return { version: wire.value };
    if (wire.case === "sha256") return { sha256: wire.value };
    throw new InvalidArgumentError("", "version or sha256", "neither");
  },
  toWire: (expected) => {
    requireObject(expected);
    if ("document" in expected)
      at("document", () => {
        requireBytes(expected.document);
      });
    const named = namedSnapshot(expected);
    return "version" in named ? { case: "version", value: named.version } : { case: "sha256", value: named.sha256 };
  },
  // One of them: a second one would be a condition that is not checked.
  refuseUnknown: (expected) => {
    const names = ["document", "version", "sha256"];
    refuseOthers(expected, new Set(names.filter((name) => name in expected).slice(0, 1)));
  },
};

const runtimeId = required<string, string>(same);
const runtimeRequest = { runtimeId };
const mutation = { requestId: same, expectedStoreId: same };
const runtimeMutation = { runtimeId, ...mutation, expectedFenceToken: same, expectedVersions };

const committed = { version: same, replayed: same };
const inputs = optional<pb.InputsVersions, InputsVersions>(
  message(pb.InputsVersionsSchema, { before: same, after: same }),
);
const keptInput: Codec<pb.KeptInput, KeptInput> = message(pb.KeptInputSchema, { inputId: same, version: same });
const committedInput = { ...committed, inputs };
const committedInputs = { ...committedInput, keptInputs: list(keptInput) };
const unchangedInputs = optional<pb.UnchangedInputs, UnchangedInputs>(
  message(pb.UnchangedInputsSchema, { inputsVersion: same }),
);

const loadedInput = loaded(pb.LoadInputStateResponseSchema, "state", inputState);
const loadedReceipt = loaded(pb.LoadBoundaryReceiptResponseSchema, "receipt", receipt);

const INPUT_FORMS = { [pb.RecordForm.JSON]: inputStateAsJson };

const commitLifecycleMembers: MessageCodec<pb.CommitMachineLifecycleRequest, CommitMachineLifecycle> = message(
  pb.CommitMachineLifecycleRequestSchema,
  {
    ...runtimeMutation,
    record: lifecycleRecordOrNone,
    inputStates: list(inputState),
    inputUploadId: same,
    unchangedInputs,
  },
  {},
  ["recordBytes", "recordJson"],
);
const commitLifecycle = (wire: pb.CommitMachineLifecycleRequest): CommitMachineLifecycle => {
  const record = lifecycleOf(wire);
  return { ...commitLifecycleMembers.toModel(wire), record };
};

/** Returns the codec of the response of a compare-and-set, whose member `done` is false when the expectation was missed. */
function committedIf<M extends Message & Committed>(
  desc: GenMessage<M>,
  done: Exclude<keyof M, keyof Message> & string,
): Codec<M, Committed | undefined> {
  return {
    toModel: (wire) => (wire[done] ? { version: wire.version, replayed: wire.replayed } : undefined),
    toWire: (result) => {
      const members = result && { [done]: true, version: result.version, replayed: result.replayed };
      return create<GenMessage<M>>(desc, members as MessageInitShape<GenMessage<M>>);
    },
  };
}

const updatedOauth: Codec<pb.UpdateAuthOauthFlowSnapshotResponse, UpdatedOauth> = {
  toModel: ({ updated, version, replayed, current }) =>
    updated ? { updated, version, replayed } : { updated, current: current && { value: current, version } },
  toWire: (result) =>
    create(
      pb.UpdateAuthOauthFlowSnapshotResponseSchema,
      result.updated
        ? { updated: true, version: result.version, replayed: result.replayed }
        : { version: result.current?.version ?? "", ...(result.current && { current: result.current.value }) },
    ),
};

const runtimeSummary: Codec<pb.RuntimeSummary, RuntimeSummary> = message(pb.RuntimeSummarySchema, {
  runtimeId: same,
  version: same,
  inputCount: same,
  receiptCount: same,
  hasSessionSnapshot: same,
  hasMachineLifecycle: same,
  hasOpsLifecycle: same,
  hasDamagedManifest: same,
});

const commitStates: readonly CommitStatus["state"][] = ["applied", "pending", "not_found", "sealed", "expired"];
const commitState = enumeration(pb.CommitStateSchema, commitStates);

const commitStatus: Codec<pb.GetCommitResponse, CommitStatus> = {
  toModel: ({ version, method, ...wire }) => {
    const state = at("state", () => commitState.toModel(wire.state));
    return state === "applied" ? { state, version, method } : { state };
  },
  toWire: (status) => create(pb.GetCommitResponseSchema, { ...status, state: commitState.toWire(status.state) }),
};

const limitMembers: Codec<pb.Limits, Limits> = message(pb.LimitsSchema, {
  requestBytes: roundedNumber,
  requestBytesInFlight: roundedNumber,
  requestsInFlight: same,
  documentBytes: roundedNumber,
  runtimeIdBytes: same,
  inputRowBytes: same,
  batchRows: same,
  operationSnapshotBytes: same,
  typedOpsSnapshotBytes: same,
  oauthSnapshotBytes: same,
  patchPieces: same,
  patchInsertBytes: same,
  uploadBytes: roundedNumber,
  uploadIdleSeconds: same,
  inputUploadRows: same,
  inputUploadBytes: roundedNumber,
  quotaBytes: optional(roundedNumber),
});

/** The limits of a store. Without a quota, the model has no member for it, so that programs can list the limits. */
const limits: Codec<pb.Limits, Limits> = {
  toModel: (wire) => {
    const { quotaBytes, ...others } = limitMembers.toModel(wire);
    return quotaBytes === undefined ? others : { ...others, quotaBytes };
  },
  toWire: limitMembers.toWire,
};

const outcomeRetention: Codec<pb.OutcomeRetention, OutcomeRetention> = message(pb.OutcomeRetentionSchema, {
  maxAgeSeconds: roundedNumber,
  maxCount: roundedNumber,
});

type Rpcs = typeof pb.RuntimeStoreService.method;
const rpc: Rpcs = pb.RuntimeStoreService.method;

/**
 * The codecs of `RuntimeStoreService`, used by the daemon and by the client: one for each RPC, under the name of the RPC
 * and of the method of `VersionedStore`. A missing, additional or misnamed codec is a compile error.
 */
export const storeCodecs = {
  authAuthorityKey: unary(
    rpc.authAuthorityKey,
    {},
    {
      toModel: ({ key }) => key,
      toWire: (key) => create(pb.AuthAuthorityKeyResponseSchema, { key }),
    },
  ),
  persistAuthOauthFlowSnapshot: unary(rpc.persistAuthOauthFlowSnapshot, { ...mutation, snapshot: same }, committed),
  loadAuthOauthFlowSnapshot: unary(
    rpc.loadAuthOauthFlowSnapshot,
    {},
    loaded<pb.LoadAuthOauthFlowSnapshotResponse, "snapshot", Uint8Array>(
      pb.LoadAuthOauthFlowSnapshotResponseSchema,
      "snapshot",
      same,
    ),
  ),
  updateAuthOauthFlowSnapshot: unary(
    rpc.updateAuthOauthFlowSnapshot,
    { ...mutation, expected: versionOrAbsent, snapshot: same },
    updatedOauth,
  ),
  commitSessionSnapshot: unary(
    rpc.commitSessionSnapshot,
    { ...runtimeMutation, sessionDelta: required(sessionChange) },
    committed,
  ),
  commitSessionTranscriptRewriteSnapshot: unary(
    rpc.commitSessionTranscriptRewriteSnapshot,
    { ...runtimeMutation, sessionDelta: required(sessionChange), commit: required(rewriteCommit) },
    committed,
  ),
  atomicApply: unary(
    rpc.atomicApply,
    {
      ...runtimeMutation,
      sessionDelta: optional(sessionChange),
      receipt: required(receipt),
      inputUpdates: list(inputState),
      inputUploadId: same,
      unchangedInputs,
      sessionStoreKey: same,
    },
    committedInputs,
  ),
  loadInputStates: stream(
    rpc.loadInputStates,
    message(pb.LoadInputStatesRequestSchema, { runtimeId, eachOutcome: flag }, {}, ["form"]),
    {
      decodeResponse: readInputStates,
      encodeResponse: (found, request) => {
        const { form } = request?.() ?? { form: pb.RecordForm.UNSPECIFIED };
        const write = form === pb.RecordForm.UNSPECIFIED ? inputState.toWire : formOf(INPUT_FORMS, form);
        return writeInputStates(found, write);
      },
    },
  ),
  loadBoundaryReceipt: unary(
    rpc.loadBoundaryReceipt,
    message(pb.LoadBoundaryReceiptRequestSchema, { runtimeId, runId: same, sequence: same }, {}, ["form"]),
    loadedReceipt,
    loadedInForm(pb.LoadBoundaryReceiptResponseSchema, loadedReceipt, {
      [pb.RecordForm.JSON]: (value) => ({ receipt: receiptAsJson(value) }),
    }),
  ),
  loadSessionSnapshot: stream(rpc.loadSessionSnapshot, runtimeRequest, {
    decodeResponse: readSnapshot,
    encodeResponse: writeSnapshot,
    documentBytes: (snapshot) => snapshot?.length ?? 0,
  }),
  uploadSessionSnapshot: upload(
    rpc.uploadSessionSnapshot,
    {
      decodeRequest: readUpload,
      encodeStart: uploadStart,
      refuseUnknown: refuseBesideUpload,
      encodeRequest: writeUpload,
    },
    {
      toModel: ({ uploadId }) => uploadId,
      toWire: (uploadId) => create(pb.UploadSessionSnapshotResponseSchema, { uploadId }),
    },
  ),
  uploadInputStates: upload(
    rpc.uploadInputStates,
    {
      decodeRequest: readInputUpload,
      encodeStart: inputUploadStart,
      refuseUnknown: refuseBesideInputUpload,
      encodeRequest: writeInputUpload,
    },
    {
      toModel: ({ uploadId }) => uploadId,
      toWire: (uploadId) => create(pb.UploadInputStatesResponseSchema, { uploadId }),
    },
  ),
  clearSessionSnapshot: unary(rpc.clearSessionSnapshot, runtimeMutation, committed),
  replaceSessionSnapshotIfCurrent: unary(
    rpc.replaceSessionSnapshotIfCurrent,
    { ...runtimeMutation, expected: expectedSnapshot, replacement: required(sessionChange) },
    committedIf(pb.ReplaceSessionSnapshotIfCurrentResponseSchema, "replaced"),
  ),
  clearSessionSnapshotIfCurrent: unary(
    rpc.clearSessionSnapshotIfCurrent,
    { ...runtimeMutation, expected: expectedSnapshot },
    committedIf(pb.ClearSessionSnapshotIfCurrentResponseSchema, "cleared"),
  ),
  persistInputState: unary(
    rpc.persistInputState,
    { ...runtimeMutation, state: optional(inputState), inputUploadId: same },
    committedInput,
  ),
  loadInputState: unary(
    rpc.loadInputState,
    message(pb.LoadInputStateRequestSchema, { runtimeId, inputId: same }, {}, ["form"]),
    loadedInput,
    loadedInForm(pb.LoadInputStateResponseSchema, loadedInput, {
      [pb.RecordForm.JSON]: (value) => ({ state: inputStateAsJson(value) }),
    }),
  ),
  loadMachineLifecycleRecord: unary(
    rpc.loadMachineLifecycleRecord,
    message(pb.LoadMachineLifecycleRecordRequestSchema, runtimeRequest, {}, ["form"]),
    loadedLifecycle,
    loadedInForm(pb.LoadMachineLifecycleRecordResponseSchema, loadedLifecycle, {
      [pb.RecordForm.JSON]: (record) => ({ recordJson: lifecycleAsJson(record) }),
      [pb.RecordForm.BYTES]: (record) => ({ recordBytes: record }),
    }),
  ),
  commitMachineLifecycle: unary(
    rpc.commitMachineLifecycle,
    { ...commitLifecycleMembers, toModel: commitLifecycle },
    committedInputs,
  ),
  persistOpsLifecycle: unary(
    rpc.persistOpsLifecycle,
    { ...runtimeMutation, snapshot: optional(opsSnapshot), opsDelta: optional(opsDelta) },
    committed,
  ),
  loadOpsLifecycle: unary(
    rpc.loadOpsLifecycle,
    runtimeRequest,
    loaded(pb.LoadOpsLifecycleResponseSchema, "snapshot", opsSnapshot),
  ),
  loadOpsLifecycleJson: stream(rpc.loadOpsLifecycleJson, runtimeRequest, {
    decodeResponse: readOpsJson,
    encodeResponse: writeOpsJson,
    documentBytes: (document) => document?.length ?? 0,
  }),
  deleteOpsLifecycle: unary(rpc.deleteOpsLifecycle, runtimeMutation, committed),
  deleteRuntime: unary(rpc.deleteRuntime, runtimeMutation, {
    ...committed,
    inputStates: same,
    receipts: same,
    hadSessionSnapshot: same,
    hadMachineLifecycle: same,
    hadOpsLifecycle: same,
  }),
  listRuntimes: unary(
    rpc.listRuntimes,
    { pageSize: same, pageToken: same },
    { runtimes: list(runtimeSummary), nextPageToken: same },
  ),
  getCommit: unary(rpc.getCommit, { requestId: same, seal: same }, commitStatus),
  getServerInfo: unary(
    rpc.getServerInfo,
    {},
    {
      serverVersion: same,
      storeId: same,
      engine: same,
      durable: same,
      limits: required(limits),
      outcomeRetention: required(outcomeRetention),
      requestIdTimes: optional(requestIdTimes),
    },
  ),
} as const satisfies ServiceCodecs<VersionedStore, Rpcs>;

export type StoreCodecs = typeof storeCodecs;
