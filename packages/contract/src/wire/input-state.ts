import type { MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "../gen/bolthole/v1/input_pb.js";
import * as model from "@bolthole/json/model";
import { enumCodec } from "./enum-codec.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";
import { runApplyBoundary } from "./receipt.js";

const lifecycleState = enumCodec(pb.InputLifecycleStateSchema, model.INPUT_LIFECYCLE_STATES);
const durability = enumCodec(pb.InputDurabilitySchema, model.INPUT_DURABILITIES);
const handlingMode = enumCodec(pb.HandlingModeSchema, model.HANDLING_MODES);
const applyMode = enumCodec(pb.ApplyModeSchema, model.APPLY_MODES);
const wakeMode = enumCodec(pb.WakeModeSchema, model.WAKE_MODES);
const queueMode = enumCodec(pb.QueueModeSchema, model.QUEUE_MODES);
const consumePoint = enumCodec(pb.ConsumePointSchema, model.CONSUME_POINTS);
const drainPolicy = enumCodec(pb.DrainPolicySchema, model.DRAIN_POLICIES);
const routingDisposition = enumCodec(pb.RoutingDispositionSchema, model.ROUTING_DISPOSITIONS);
const executionKind = enumCodec(pb.RunExecutionKindSchema, model.RUN_EXECUTION_KINDS);
const applyIntent = enumCodec(pb.PeerResponseTerminalApplyIntentSchema, model.PEER_RESPONSE_TERMINAL_APPLY_INTENTS);
const abandonCause = enumCodec(pb.InputAbandonCauseSchema, [...model.INPUT_ABANDON_REASONS, "max_attempts_exhausted"]);

export function toInputState(message: pb.StoredInputState, field: string): model.StoredInputState {
  return {
    inputId: message.inputId,
    currentState: lifecycleState.toModel(message.currentState, `${field}.current_state`),
    policy: message.policy && toPolicy(message.policy, `${field}.policy`),
    runtimeSemantics: message.runtimeSemantics && toSemantics(message.runtimeSemantics, `${field}.runtime_semantics`),
    terminalOutcome: message.terminalOutcome && toOutcome(message.terminalOutcome, `${field}.terminal_outcome`),
    durability: durability.toOptionalModel(message.durability, `${field}.durability`),
    idempotencyKey: message.idempotencyKey,
    attemptCount: message.attemptCount,
    recoveryCount: message.recoveryCount,
    history: message.history.map((entry, index) => toHistoryEntry(entry, `${field}.history[${String(index)}]`)),
    reconstructionSource:
      message.reconstructionSource && toSource(message.reconstructionSource, `${field}.reconstruction_source`),
    persistedInput: message.persistedInputJson,
    lastRunId: message.lastRunId,
    lastBoundarySequence: message.lastBoundarySequence,
    admissionSequence: message.admissionSequence,
    recoveryLane: handlingMode.toOptionalModel(message.recoveryLane, `${field}.recovery_lane`),
    createdAt: message.createdAt,
    updatedAt: message.updatedAt,
  };
}

export function fromInputState(state: model.StoredInputState): MessageInitShape<typeof pb.StoredInputStateSchema> {
  return {
    inputId: state.inputId,
    currentState: lifecycleState.toWire(state.currentState, "current_state"),
    policy: state.policy && fromPolicy(state.policy),
    runtimeSemantics: state.runtimeSemantics && {
      boundary: runApplyBoundary.toWire(state.runtimeSemantics.boundary, "boundary"),
      executionKind: executionKind.toWire(state.runtimeSemantics.executionKind, "execution_kind"),
      peerResponseTerminalApplyIntent: applyIntent.toOptionalWire(
        state.runtimeSemantics.peerResponseTerminalApplyIntent,
        "peer_response_terminal_apply_intent",
      ),
    },
    terminalOutcome: state.terminalOutcome && fromOutcome(state.terminalOutcome),
    durability: durability.toOptionalWire(state.durability, "durability"),
    idempotencyKey: state.idempotencyKey,
    attemptCount: state.attemptCount,
    recoveryCount: state.recoveryCount,
    history: state.history.map((entry) => ({
      timestamp: entry.timestamp,
      from: lifecycleState.toWire(entry.from, "from"),
      to: lifecycleState.toWire(entry.to, "to"),
      reason: entry.reason,
    })),
    reconstructionSource: state.reconstructionSource && fromSource(state.reconstructionSource),
    persistedInputJson: state.persistedInput,
    lastRunId: state.lastRunId,
    lastBoundarySequence: state.lastBoundarySequence,
    admissionSequence: state.admissionSequence,
    recoveryLane: handlingMode.toOptionalWire(state.recoveryLane, "recovery_lane"),
    createdAt: state.createdAt,
    updatedAt: state.updatedAt,
  };
}

function toPolicy(message: pb.PolicySnapshot, field: string): model.PolicySnapshot {
  const decision = requireField(message.decision, `${field}.decision`);
  const inside = `${field}.decision`;
  return {
    version: message.version,
    decision: {
      applyMode: applyMode.toModel(decision.applyMode, `${inside}.apply_mode`),
      wakeMode: wakeMode.toModel(decision.wakeMode, `${inside}.wake_mode`),
      queueMode: queueMode.toModel(decision.queueMode, `${inside}.queue_mode`),
      consumePoint: consumePoint.toModel(decision.consumePoint, `${inside}.consume_point`),
      drainPolicy: drainPolicy.toModel(decision.drainPolicy, `${inside}.drain_policy`),
      routingDisposition: routingDisposition.toModel(decision.routingDisposition, `${inside}.routing_disposition`),
      recordTranscript: decision.recordTranscript,
      emitOperatorContent: decision.emitOperatorContent,
      policyVersion: decision.policyVersion,
    },
  };
}

function fromPolicy({ version, decision }: model.PolicySnapshot): MessageInitShape<typeof pb.PolicySnapshotSchema> {
  return {
    version,
    decision: {
      applyMode: applyMode.toWire(decision.applyMode, "apply_mode"),
      wakeMode: wakeMode.toWire(decision.wakeMode, "wake_mode"),
      queueMode: queueMode.toWire(decision.queueMode, "queue_mode"),
      consumePoint: consumePoint.toWire(decision.consumePoint, "consume_point"),
      drainPolicy: drainPolicy.toWire(decision.drainPolicy, "drain_policy"),
      routingDisposition: routingDisposition.toWire(decision.routingDisposition, "routing_disposition"),
      recordTranscript: decision.recordTranscript,
      emitOperatorContent: decision.emitOperatorContent,
      policyVersion: decision.policyVersion,
    },
  };
}

function toSemantics(message: pb.RuntimeInputSemantics, field: string): model.RuntimeInputSemantics {
  return {
    boundary: runApplyBoundary.toModel(message.boundary, `${field}.boundary`),
    executionKind: executionKind.toModel(message.executionKind, `${field}.execution_kind`),
    peerResponseTerminalApplyIntent: applyIntent.toOptionalModel(
      message.peerResponseTerminalApplyIntent,
      `${field}.peer_response_terminal_apply_intent`,
    ),
  };
}

function toOutcome({ outcome }: pb.InputTerminalOutcome, field: string): model.InputTerminalOutcome {
  switch (outcome.case) {
    case "consumed":
      return { kind: "consumed" };
    case "superseded":
      return { kind: "superseded", supersededBy: outcome.value.supersededBy };
    case "coalesced":
      return { kind: "coalesced", aggregateId: outcome.value.aggregateId };
    case "abandoned": {
      const kind = abandonCause.toModel(outcome.value.cause, `${field}.abandoned.cause`);
      return {
        kind: "abandoned",
        reason: kind === "max_attempts_exhausted" ? { kind, attempts: outcome.value.attempts } : { kind },
      };
    }
    case undefined:
      throw new InvalidArgumentError(field, "an outcome", "none");
  }
}

function fromOutcome(outcome: model.InputTerminalOutcome): MessageInitShape<typeof pb.InputTerminalOutcomeSchema> {
  switch (outcome.kind) {
    case "consumed":
      return { outcome: { case: "consumed", value: {} } };
    case "superseded":
      return { outcome: { case: "superseded", value: { supersededBy: outcome.supersededBy } } };
    case "coalesced":
      return { outcome: { case: "coalesced", value: { aggregateId: outcome.aggregateId } } };
    case "abandoned":
      return {
        outcome: {
          case: "abandoned",
          value: {
            cause: abandonCause.toWire(outcome.reason.kind, "cause"),
            attempts: outcome.reason.kind === "max_attempts_exhausted" ? outcome.reason.attempts : 0,
          },
        },
      };
  }
}

function toHistoryEntry(message: pb.InputHistoryEntry, field: string): model.InputHistoryEntry {
  return {
    timestamp: message.timestamp,
    from: lifecycleState.toModel(message.from, `${field}.from`),
    to: lifecycleState.toModel(message.to, `${field}.to`),
    reason: message.reason,
  };
}

function toSource({ source }: pb.ReconstructionSource, field: string): model.ReconstructionSource {
  switch (source.case) {
    case "projection":
      return { kind: "projection", ruleId: source.value.ruleId, sourceEventId: source.value.sourceEventId };
    case "coalescing":
      return { kind: "coalescing", sourceInputIds: source.value.sourceInputIds };
    case undefined:
      throw new InvalidArgumentError(field, "a source", "none");
  }
}

function fromSource(source: model.ReconstructionSource): MessageInitShape<typeof pb.ReconstructionSourceSchema> {
  switch (source.kind) {
    case "projection":
      return {
        source: { case: "projection", value: { ruleId: source.ruleId, sourceEventId: source.sourceEventId } },
      };
    case "coalescing":
      return { source: { case: "coalescing", value: { sourceInputIds: [...source.sourceInputIds] } } };
  }
}
