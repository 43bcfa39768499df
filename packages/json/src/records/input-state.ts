import type { Buffer } from "node:buffer";

import { list } from "../shapes/collection.js";
import { jsonText, trustedJsonText } from "../shapes/raw-json.js";
import { BOOLEAN, STRING, U32, U64, enumeration, UUID } from "../shapes/scalar.js";
import { type Shape, readDocument, writeDocument } from "../shapes/shape.js";
import { defaulted, nullable, omittedWhenEmpty, optional, required, struct } from "../shapes/struct.js";
import { TIMESTAMP, type Timestamp } from "../shapes/time.js";
import { externallyTagged, taggedUnion } from "../shapes/union.js";
import type { InputId, RunId } from "./ids.js";
import {
  HANDLING_MODES,
  type HandlingMode,
  INPUT_DURABILITIES,
  type InputDurability,
  PERSISTED_INPUT,
} from "./persisted-input.js";
import { RUN_APPLY_BOUNDARY, type RunApplyBoundary } from "./receipt.js";
import { recordVersion } from "./record-version.js";

/** The lifecycle states of an input (contract 5.2). */
export const INPUT_LIFECYCLE_STATES = [
  "accepted",
  "queued",
  "staged",
  "applied",
  "applied_pending_consumption",
  "consumed",
  "superseded",
  "coalesced",
  "abandoned",
] as const;
export type InputLifecycleState = (typeof INPUT_LIFECYCLE_STATES)[number];

/** The states with a terminal outcome, which is the one of the same name (contract 5.4). */
export const TERMINAL_INPUT_STATES: readonly InputLifecycleState[] = [
  "consumed",
  "superseded",
  "coalesced",
  "abandoned",
];

/** The reference's limit of staging attempts. Attempts below it cannot be exhausted (contract 5.4). */
export const MAX_STAGE_ATTEMPTS = 3;

/** The reasons without further data for which an input is abandoned (contract 5.2). */
export const INPUT_ABANDON_REASONS = ["retired", "reset", "stopped", "destroyed", "cancelled"] as const;
export type InputAbandonReason =
  | { readonly kind: (typeof INPUT_ABANDON_REASONS)[number] }
  | { readonly kind: "max_attempts_exhausted"; readonly attempts: number };

/** The result of an input that has reached a terminal state (contract 5.2). */
export type InputTerminalOutcome =
  | { readonly kind: "consumed" }
  | { readonly kind: "superseded"; readonly supersededBy: InputId }
  | { readonly kind: "coalesced"; readonly aggregateId: InputId }
  | { readonly kind: "abandoned"; readonly reason: InputAbandonReason };

/** The values of the members of a policy decision and of runtime semantics (contract 5.2). */
export const APPLY_MODES = ["stage_run_start", "stage_run_boundary", "inject_now", "ignore"] as const;
export const WAKE_MODES = ["wake_if_idle", "interrupt_yielding", "none"] as const;
export const QUEUE_MODES = ["none", "fifo", "coalesce", "supersede", "priority"] as const;
export const CONSUME_POINTS = ["on_accept", "on_apply", "on_run_start", "on_run_complete", "explicit_ack"] as const;
export const DRAIN_POLICIES = ["queue_next_turn", "steer_batch", "immediate", "ignore"] as const;
export const ROUTING_DISPOSITIONS = ["queue", "steer", "immediate", "drop"] as const;
export const RUN_EXECUTION_KINDS = ["content_turn", "resume_pending"] as const;
export const PEER_RESPONSE_TERMINAL_APPLY_INTENTS = ["append_context_and_run"] as const;

/** The machine's decision how to apply an input (contract 5.2). The store does not interpret it. */
export interface PolicyDecision {
  readonly applyMode: (typeof APPLY_MODES)[number];
  readonly wakeMode: (typeof WAKE_MODES)[number];
  readonly queueMode: (typeof QUEUE_MODES)[number];
  readonly consumePoint: (typeof CONSUME_POINTS)[number];
  readonly drainPolicy: (typeof DRAIN_POLICIES)[number];
  readonly routingDisposition: (typeof ROUTING_DISPOSITIONS)[number];
  readonly recordTranscript: boolean;
  readonly emitOperatorContent: boolean;
  /** 0 to 2^64-1. */
  readonly policyVersion: bigint;
}

/** A policy decision, with the version of the policy that applied to the input. */
export interface PolicySnapshot {
  /** 0 to 2^64-1. */
  readonly version: bigint;
  readonly decision: PolicyDecision;
}

/** The way in which the runtime applies an input (contract 5.2). The store does not interpret it. */
export interface RuntimeInputSemantics {
  readonly boundary: RunApplyBoundary;
  readonly executionKind: (typeof RUN_EXECUTION_KINDS)[number];
  readonly peerResponseTerminalApplyIntent?: (typeof PEER_RESPONSE_TERMINAL_APPLY_INTENTS)[number] | undefined;
}

/** One change of an input's lifecycle state. */
export interface InputHistoryEntry {
  readonly timestamp: Timestamp;
  readonly from: InputLifecycleState;
  readonly to: InputLifecycleState;
  readonly reason?: string | undefined;
}

/** The origin of an input that was made from other inputs or events (contract 5.2). */
export type ReconstructionSource =
  | { readonly kind: "projection"; readonly ruleId: string; readonly sourceEventId: string }
  | { readonly kind: "coalescing"; readonly sourceInputIds: readonly InputId[] };

/** One of the input rows of a runtime (contract 5.1). Its key is `inputId`. */
export interface StoredInputState {
  readonly inputId: InputId;
  readonly currentState: InputLifecycleState;
  readonly policy?: PolicySnapshot | undefined;
  readonly runtimeSemantics?: RuntimeInputSemantics | undefined;
  readonly terminalOutcome?: InputTerminalOutcome | undefined;
  readonly durability?: InputDurability | undefined;
  readonly idempotencyKey?: string | undefined;
  /** 0 to 2^32-1. */
  readonly attemptCount: number;
  /** 0 to 2^32-1. */
  readonly recoveryCount: number;
  readonly history: readonly InputHistoryEntry[];
  readonly reconstructionSource?: ReconstructionSource | undefined;
  /** The payload as JSON text (contract 5.3). Reading returns canonical JSON. */
  readonly persistedInput?: string | undefined;
  readonly lastRunId?: RunId | undefined;
  /** 0 to 2^64-1. */
  readonly lastBoundarySequence?: bigint | undefined;
  /** 0 to 2^64-1. */
  readonly admissionSequence?: bigint | undefined;
  readonly recoveryLane?: HandlingMode | undefined;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
}

const LIFECYCLE_STATE = enumeration(INPUT_LIFECYCLE_STATES);

const POLICY = struct<PolicySnapshot>("a policy", {
  version: required("version", U64),
  decision: required(
    "decision",
    struct<PolicyDecision>("a policy decision", {
      applyMode: required("apply_mode", enumeration(APPLY_MODES)),
      wakeMode: required("wake_mode", enumeration(WAKE_MODES)),
      queueMode: required("queue_mode", enumeration(QUEUE_MODES)),
      consumePoint: required("consume_point", enumeration(CONSUME_POINTS)),
      drainPolicy: defaulted("drain_policy", enumeration(DRAIN_POLICIES), "queue_next_turn"),
      routingDisposition: defaulted("routing_disposition", enumeration(ROUTING_DISPOSITIONS), "queue"),
      recordTranscript: defaulted("record_transcript", BOOLEAN, true),
      emitOperatorContent: defaulted("emit_operator_content", BOOLEAN, true),
      policyVersion: required("policy_version", U64),
    }),
  ),
});

const RUNTIME_SEMANTICS = struct<RuntimeInputSemantics>("runtime semantics", {
  boundary: required("boundary", RUN_APPLY_BOUNDARY),
  executionKind: required("execution_kind", enumeration(RUN_EXECUTION_KINDS)),
  peerResponseTerminalApplyIntent: nullable(
    "peer_response_terminal_apply_intent",
    enumeration(PEER_RESPONSE_TERMINAL_APPLY_INTENTS),
  ),
});

const ABANDON_REASON = externallyTagged<InputAbandonReason>("an abandon reason", enumeration(INPUT_ABANDON_REASONS), {
  max_attempts_exhausted: { attempts: required("attempts", U32) },
});

const TERMINAL_OUTCOME = taggedUnion<InputTerminalOutcome>("a terminal outcome", "outcome_type", {
  consumed: {},
  superseded: { supersededBy: required("superseded_by", UUID) },
  coalesced: { aggregateId: required("aggregate_id", UUID) },
  abandoned: { reason: required("reason", ABANDON_REASON) },
});

const HISTORY_ENTRY = struct<InputHistoryEntry>("a history entry", {
  timestamp: required("timestamp", TIMESTAMP),
  from: required("from", LIFECYCLE_STATE),
  to: required("to", LIFECYCLE_STATE),
  reason: optional("reason", STRING),
});

const RECONSTRUCTION_SOURCE = taggedUnion<ReconstructionSource>("a reconstruction source", "source_type", {
  projection: { ruleId: required("rule_id", STRING), sourceEventId: required("source_event_id", STRING) },
  coalescing: { sourceInputIds: required("source_input_ids", list(UUID)) },
});

/** The two shapes of a row differ in the way they read the payload. */
function inputState(payload: Shape<string>): Shape<StoredInputState> {
  return struct<StoredInputState>("a stored input state", {
    _version: recordVersion("stored_input_state_version", "StoredInputState"),
    inputId: required("input_id", UUID),
    currentState: required("current_state", LIFECYCLE_STATE),
    policy: optional("policy", POLICY),
    runtimeSemantics: optional("runtime_semantics", RUNTIME_SEMANTICS),
    terminalOutcome: optional("terminal_outcome", TERMINAL_OUTCOME),
    durability: optional("durability", enumeration(INPUT_DURABILITIES)),
    idempotencyKey: optional("idempotency_key", STRING),
    attemptCount: defaulted("attempt_count", U32, 0),
    recoveryCount: defaulted("recovery_count", U32, 0),
    history: omittedWhenEmpty("history", list(HISTORY_ENTRY)),
    reconstructionSource: optional("reconstruction_source", RECONSTRUCTION_SOURCE),
    persistedInput: optional("persisted_input", payload),
    lastRunId: optional("last_run_id", UUID),
    lastBoundarySequence: optional("last_boundary_sequence", U64),
    admissionSequence: optional("admission_sequence", U64),
    recoveryLane: optional("recovery_lane", enumeration(HANDLING_MODES)),
    createdAt: required("created_at", TIMESTAMP),
    updatedAt: required("updated_at", TIMESTAMP),
  });
}

export const INPUT_STATE = inputState(jsonText(PERSISTED_INPUT));
const STORED_INPUT_STATE = inputState(trustedJsonText("an input"));

/** Reads an input row (contract 5.1). Throws a `JsonError` when the text is not one. */
export function readInputState(source: Uint8Array | string): StoredInputState {
  return readDocument(INPUT_STATE, source);
}

/** Reads a row that `writeInputState` wrote. Faster: the payload is known to be canonical and is not read again. */
export function readStoredInputState(source: Uint8Array): StoredInputState {
  return readDocument(STORED_INPUT_STATE, source);
}

/** Returns the canonical JSON of an input row. Throws a `JsonError` when a value is not allowed. */
export function writeInputState(state: StoredInputState): Buffer {
  return writeDocument(INPUT_STATE, state);
}
