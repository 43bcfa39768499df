import type { Buffer } from "node:buffer";

import {
  APPLY_MODES,
  CONSUME_POINTS,
  DRAIN_POLICIES,
  HANDLING_MODES,
  INPUT_ABANDON_REASONS,
  INPUT_DURABILITIES,
  INPUT_LIFECYCLE_STATES,
  type InputAbandonReason,
  type InputHistoryEntry,
  type InputTerminalOutcome,
  PEER_RESPONSE_TERMINAL_APPLY_INTENTS,
  type PolicyDecision,
  type PolicySnapshot,
  QUEUE_MODES,
  ROUTING_DISPOSITIONS,
  RUN_EXECUTION_KINDS,
  type ReconstructionSource,
  type RuntimeInputSemantics,
  type StoredInputState,
  WAKE_MODES,
} from "./model/index.js";
import { list } from "./collection.js";
import { readDocument, writeDocument } from "./document.js";
import { jsonText, trustedJsonText } from "./normalised-text.js";
import { PERSISTED_INPUT } from "./persisted-input.js";
import { RUN_APPLY_BOUNDARY } from "./receipt.js";
import { BOOLEAN, STRING, TIMESTAMP, U32, U64, UUID, enumeration } from "./scalar.js";
import { defaulted, hidden, nullable, omittedWhenEmpty, optional, required } from "./field.js";
import type { Shape } from "./shape.js";
import { struct } from "./struct.js";
import { externallyTagged, taggedUnion } from "./union.js";

const CURRENT_VERSION = 2;
const LEGACY_VERSION = 1;

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

/** Rows of both versions are read, the current one is written (section 5.1). */
const VERSION = hidden(defaulted("stored_input_state_version", U32, LEGACY_VERSION), {
  compute: () => CURRENT_VERSION,
  verdict: (version) =>
    version === CURRENT_VERSION || version === LEGACY_VERSION
      ? undefined
      : "generated session persistence version authority rejected StoredInputState: " +
        `expected current ${CURRENT_VERSION} or legacy ${LEGACY_VERSION}, got ${version}`,
});

function inputState(payload: Shape<string>): Shape<StoredInputState> {
  return struct<StoredInputState>("a stored input state", {
    _version: VERSION,
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

const INPUT_STATE = inputState(jsonText(PERSISTED_INPUT));
const STORED_INPUT_STATE = inputState(trustedJsonText("an input"));

export function readInputState(source: Uint8Array | string): StoredInputState {
  return readDocument(INPUT_STATE, source);
}

/** For rows that `writeInputState` made: the payload is known to be in its written form and is only cut out. */
export function readStoredInputState(source: Uint8Array): StoredInputState {
  return readDocument(STORED_INPUT_STATE, source);
}

export function writeInputState(state: StoredInputState): Buffer {
  return writeDocument(INPUT_STATE, state);
}
