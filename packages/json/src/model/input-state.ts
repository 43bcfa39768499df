import type { InputId, RunId, Timestamp } from "./ids.js";
import type { RunApplyBoundary } from "./receipt.js";

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

export const INPUT_ABANDON_REASONS = ["retired", "reset", "stopped", "destroyed", "cancelled"] as const;
export type InputAbandonReason =
  | { readonly kind: (typeof INPUT_ABANDON_REASONS)[number] }
  | { readonly kind: "max_attempts_exhausted"; readonly attempts: number };

export type InputTerminalOutcome =
  | { readonly kind: "consumed" }
  | { readonly kind: "superseded"; readonly supersededBy: InputId }
  | { readonly kind: "coalesced"; readonly aggregateId: InputId }
  | { readonly kind: "abandoned"; readonly reason: InputAbandonReason };

export const INPUT_DURABILITIES = ["durable", "ephemeral", "derived"] as const;
export type InputDurability = (typeof INPUT_DURABILITIES)[number];

export const HANDLING_MODES = ["queue", "steer"] as const;
export type HandlingMode = (typeof HANDLING_MODES)[number];

export const APPLY_MODES = ["stage_run_start", "stage_run_boundary", "inject_now", "ignore"] as const;
export const WAKE_MODES = ["wake_if_idle", "interrupt_yielding", "none"] as const;
export const QUEUE_MODES = ["none", "fifo", "coalesce", "supersede", "priority"] as const;
export const CONSUME_POINTS = ["on_accept", "on_apply", "on_run_start", "on_run_complete", "explicit_ack"] as const;
export const DRAIN_POLICIES = ["queue_next_turn", "steer_batch", "immediate", "ignore"] as const;
export const ROUTING_DISPOSITIONS = ["queue", "steer", "immediate", "drop"] as const;
export const RUN_EXECUTION_KINDS = ["content_turn", "resume_pending"] as const;
export const PEER_RESPONSE_TERMINAL_APPLY_INTENTS = ["append_context_and_run"] as const;

export interface PolicyDecision {
  readonly applyMode: (typeof APPLY_MODES)[number];
  readonly wakeMode: (typeof WAKE_MODES)[number];
  readonly queueMode: (typeof QUEUE_MODES)[number];
  readonly consumePoint: (typeof CONSUME_POINTS)[number];
  readonly drainPolicy: (typeof DRAIN_POLICIES)[number];
  readonly routingDisposition: (typeof ROUTING_DISPOSITIONS)[number];
  readonly recordTranscript: boolean;
  readonly emitOperatorContent: boolean;
  readonly policyVersion: bigint;
}

export interface PolicySnapshot {
  readonly version: bigint;
  readonly decision: PolicyDecision;
}

export interface RuntimeInputSemantics {
  readonly boundary: RunApplyBoundary;
  readonly executionKind: (typeof RUN_EXECUTION_KINDS)[number];
  readonly peerResponseTerminalApplyIntent?: (typeof PEER_RESPONSE_TERMINAL_APPLY_INTENTS)[number] | undefined;
}

export interface InputHistoryEntry {
  readonly timestamp: Timestamp;
  readonly from: InputLifecycleState;
  readonly to: InputLifecycleState;
  readonly reason?: string | undefined;
}

export type ReconstructionSource =
  | { readonly kind: "projection"; readonly ruleId: string; readonly sourceEventId: string }
  | { readonly kind: "coalescing"; readonly sourceInputIds: readonly InputId[] };

/** One row of a runtime's input ledger (section 5). It is stored under the `inputId` that it carries. */
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
  /** The runtime's own payload as JSON text (section 5.3); given back in the reference's normal form. */
  readonly persistedInput?: string | undefined;
  readonly lastRunId?: RunId | undefined;
  readonly lastBoundarySequence?: bigint | undefined;
  readonly admissionSequence?: bigint | undefined;
  readonly recoveryLane?: HandlingMode | undefined;
  readonly createdAt: Timestamp;
  readonly updatedAt: Timestamp;
}
