import * as model from "@bolthole/json/model";
import * as input from "../gen/bolthole/v1/input_pb.js";
import * as operations from "../gen/bolthole/v1/operations_pb.js";
import {
  RunApplyBoundarySchema,
  type RunBoundaryReceipt,
  RunBoundaryReceiptSchema,
} from "../gen/bolthole/v1/receipt_pb.js";
import * as session from "../gen/bolthole/v1/session_pb.js";
import { refuseOthers, requireObject } from "./field-types.js";
import {
  type Codec,
  at,
  enumeration,
  list,
  map,
  message,
  optional,
  required,
  same,
  strings,
  union,
} from "./message-codec.js";

// The tables of the records: each member of a record is named once, for both directions.

const runApplyBoundary = enumeration(RunApplyBoundarySchema, model.RUN_APPLY_BOUNDARIES);

export const receipt: Codec<RunBoundaryReceipt, model.RunBoundaryReceipt> = message(
  RunBoundaryReceiptSchema,
  {
    runId: same,
    boundary: runApplyBoundary,
    contributingInputIds: strings,
    conversationDigest: same,
    messageCount: same,
    sequence: same,
  },
  {},
  ["receiptJson"],
);

const inputLifecycleState = enumeration(input.InputLifecycleStateSchema, model.INPUT_LIFECYCLE_STATES);

/** A flag that is true when the message does not have it, as in the reference's JSON. */
const trueUnlessSet: Codec<boolean | undefined, boolean> = {
  toModel: (wire) => wire ?? true,
  toWire: (value) => value,
};

const policyDecision: Codec<input.PolicyDecision, model.PolicyDecision> = message(input.PolicyDecisionSchema, {
  applyMode: enumeration(input.ApplyModeSchema, model.APPLY_MODES),
  wakeMode: enumeration(input.WakeModeSchema, model.WAKE_MODES),
  queueMode: enumeration(input.QueueModeSchema, model.QUEUE_MODES),
  consumePoint: enumeration(input.ConsumePointSchema, model.CONSUME_POINTS),
  drainPolicy: enumeration(input.DrainPolicySchema, model.DRAIN_POLICIES),
  routingDisposition: enumeration(input.RoutingDispositionSchema, model.ROUTING_DISPOSITIONS),
  recordTranscript: trueUnlessSet,
  emitOperatorContent: trueUnlessSet,
  policyVersion: same,
});

const policySnapshot: Codec<input.PolicySnapshot, model.PolicySnapshot> = message(input.PolicySnapshotSchema, {
  version: same,
  decision: required(policyDecision),
});

const runtimeSemantics: Codec<input.RuntimeInputSemantics, model.RuntimeInputSemantics> = message(
  input.RuntimeInputSemanticsSchema,
  {
    boundary: runApplyBoundary,
    executionKind: enumeration(input.RunExecutionKindSchema, model.RUN_EXECUTION_KINDS),
    peerResponseTerminalApplyIntent: enumeration(
      input.PeerResponseTerminalApplyIntentSchema,
      model.PEER_RESPONSE_TERMINAL_APPLY_INTENTS,
    ).optional,
  },
);

const abandonCauses = [...model.INPUT_ABANDON_REASONS, "max_attempts_exhausted"] as const;
const abandonment: Codec<
  input.InputAbandoned,
  { readonly cause: (typeof abandonCauses)[number]; readonly attempts: number }
> = message(input.InputAbandonedSchema, {
  cause: enumeration(input.InputAbandonCauseSchema, abandonCauses),
  attempts: same,
});

/** An abandonment. The model has the number of attempts with one of the causes only, the message always has it. */
const abandoned: Codec<input.InputAbandoned, { readonly reason: model.InputAbandonReason }> = {
  toModel: (wire) => {
    const { cause, attempts } = abandonment.toModel(wire);
    return { reason: cause === "max_attempts_exhausted" ? { kind: cause, attempts } : { kind: cause } };
  },
  toWire: ({ reason }) => {
    requireObject(reason);
    return abandonment.toWire({
      cause: reason.kind,
      attempts: reason.kind === "max_attempts_exhausted" ? reason.attempts : 0,
    });
  },
  refuseUnknown: (outcome) => {
    refuseOthers(outcome, new Set(["reason"]));
    at("reason", () => {
      const { reason } = outcome;
      refuseOthers(reason, new Set(reason.kind === "max_attempts_exhausted" ? ["kind", "attempts"] : ["kind"]));
    });
  },
};

const inputOutcome: Codec<input.InputTerminalOutcome, model.InputTerminalOutcome> = union(
  input.InputTerminalOutcomeSchema,
  "outcome",
  {
    consumed: {},
    superseded: { supersededBy: same },
    coalesced: { aggregateId: same },
    abandoned,
  },
);

const historyEntry: Codec<input.InputHistoryEntry, model.InputHistoryEntry> = message(
  input.InputHistoryEntrySchema,
  { timestamp: same, from: inputLifecycleState, to: inputLifecycleState, reason: same },
  { from: "fromState", to: "toState" },
);

const reconstructionSource: Codec<input.ReconstructionSource, model.ReconstructionSource> = union(
  input.ReconstructionSourceSchema,
  "source",
  {
    projection: { ruleId: same, sourceEventId: same },
    coalescing: { sourceInputIds: strings },
  },
);

export const inputState: Codec<input.StoredInputState, model.StoredInputState> = message(
  input.StoredInputStateSchema,
  {
    inputId: same,
    currentState: inputLifecycleState,
    policy: optional(policySnapshot),
    runtimeSemantics: optional(runtimeSemantics),
    terminalOutcome: optional(inputOutcome),
    durability: enumeration(input.InputDurabilitySchema, model.INPUT_DURABILITIES).optional,
    idempotencyKey: same,
    attemptCount: same,
    recoveryCount: same,
    history: list(historyEntry),
    reconstructionSource: optional(reconstructionSource),
    persistedInput: same,
    lastRunId: same,
    lastBoundarySequence: same,
    admissionSequence: same,
    recoveryLane: enumeration(input.HandlingModeSchema, model.HANDLING_MODES).optional,
    createdAt: same,
    updatedAt: same,
  },
  { persistedInput: "persistedInputJson" },
  ["stateJson"],
);

const operationKind = enumeration(operations.OperationKindSchema, model.OPERATION_KINDS);

const peerAddress: Codec<operations.PeerAddress, model.PeerAddress> = message(operations.PeerAddressSchema, {
  transport: enumeration(operations.PeerTransportSchema, model.PEER_TRANSPORTS),
  endpoint: same,
});

const operationSource: Codec<operations.OperationSource, model.OperationSource> = union(
  operations.OperationSourceSchema,
  "source",
  {
    session_child: { sessionId: same },
    backend_peer: { peerId: same, address: required(peerAddress) },
  },
);

const operationOutcome: Codec<operations.OperationTerminalOutcome, model.OperationTerminalOutcome> = union(
  operations.OperationTerminalOutcomeSchema,
  "outcome",
  {
    completed: { id: same, content: same, isError: same, durationMs: same, tokensUsed: same },
    failed: { error: same },
    aborted: { reason: same },
    cancelled: { reason: same },
    retired: {},
    terminated: { reason: same },
  },
);

const operationState: Codec<operations.OperationState, model.OperationState> = message(
  operations.OperationStateSchema,
  {
    status: enumeration(operations.OperationStatusSchema, model.OPERATION_STATUSES),
    kind: operationKind,
    operationSource: optional(operationSource),
    peerReady: same,
    progressCount: same,
    watcherCount: same,
    terminalOutcome: optional(operationOutcome),
    completionSequence: same,
    terminalBuffered: same,
  },
);

const completionFeedEntry: Codec<operations.CompletionFeedEntry, model.CompletionFeedEntry> = message(
  operations.CompletionFeedEntrySchema,
  {
    seq: same,
    kind: operationKind,
    terminalOutcome: required(operationOutcome),
  },
);

const authorityState: Codec<operations.OperationAuthorityState, model.OperationAuthorityState> = message(
  operations.OperationAuthorityStateSchema,
  {
    operations: map(operationState),
    completionFeedEntries: map(completionFeedEntry),
    completedOrder: strings,
    maxCompleted: same,
    maxConcurrent: same,
    activeCount: same,
    waitRequestId: same,
    waitOperationIds: strings,
    nextCompletionSeq: same,
  },
);

const operationSpec: Codec<operations.OperationSpec, model.OperationSpec> = message(operations.OperationSpecSchema, {
  id: same,
  kind: operationKind,
  ownerSessionId: same,
  displayName: same,
  sourceLabel: same,
  operationSource: optional(operationSource),
  childSessionId: same,
  expectPeerChannel: same,
});

const completionEntry: Codec<operations.CompletionEntry, model.CompletionEntry> = message(
  operations.CompletionEntrySchema,
  {
    seq: same,
    operationId: same,
    kind: operationKind,
    displayName: same,
    terminalOutcome: required(operationOutcome),
    completedAtMs: same,
  },
);

const cursors: Codec<operations.OperationCursors, model.OperationCursors> = message(operations.OperationCursorsSchema, {
  agentAppliedCursor: same,
  runtimeObservedSeq: same,
  runtimeLastInjectedSeq: same,
});

export const opsSnapshot: Codec<operations.PersistedOpsSnapshot, model.PersistedOpsSnapshot> = message(
  operations.PersistedOpsSnapshotSchema,
  {
    epochId: same,
    authorityState: required(authorityState),
    operationSpecs: map(operationSpec),
    completionEntries: list(completionEntry),
    cursors: required(cursors),
  },
);

const rewriteSelection: Codec<session.TranscriptRewriteSelection, model.TranscriptRewriteSelection> = union(
  session.TranscriptRewriteSelectionSchema,
  "selection",
  { message_range: { start: same, end: same } },
);

const rewriteReason: Codec<session.TranscriptRewriteReason, model.TranscriptRewriteCommit["reason"]> = message(
  session.TranscriptRewriteReasonSchema,
  { kind: same, note: same },
);

const systemTime: Codec<session.SystemTime, model.SystemTime> = message(session.SystemTimeSchema, {
  seconds: same,
  nanos: same,
});

export const rewriteCommit: Codec<session.TranscriptRewriteCommit, model.TranscriptRewriteCommit> = message(
  session.TranscriptRewriteCommitSchema,
  {
    parentRevision: same,
    revision: same,
    selection: required(rewriteSelection),
    originalSpanDigest: same,
    replacementDigest: same,
    messagesBefore: same,
    messagesAfter: same,
    reason: required(rewriteReason),
    actor: same,
    committedAt: required(systemTime),
  },
  {},
  ["commitJson"],
);
