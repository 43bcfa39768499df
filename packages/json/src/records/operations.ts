import type { Buffer } from "node:buffer";

import { list, uuidMap } from "../shapes/collection.js";
import { BOOLEAN, STRING, U32, U64, enumeration, UUID, type Uuid } from "../shapes/scalar.js";
import { checkDocument, readDocument, writeDocument } from "../shapes/shape.js";
import { nullable, optional, required, requiredNullable, struct } from "../shapes/struct.js";
import { taggedUnion } from "../shapes/union.js";
import type { OperationId, SessionId } from "./ids.js";

/** The states of an operation (contract 6.1). */
export const OPERATION_STATUSES = [
  "absent",
  "provisioning",
  "running",
  "retiring",
  "completed",
  "failed",
  "aborted",
  "cancelled",
  "retired",
  "terminated",
] as const;
export type OperationStatus = (typeof OPERATION_STATUSES)[number];

/** The kinds of operations (contract 6.1). */
export const OPERATION_KINDS = ["mob_member_child", "background_tool_op", "background_tool_capacity_slot"] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** The ways to reach a backend peer (contract 6.1). */
export const PEER_TRANSPORTS = ["inproc", "uds", "tcp"] as const;

/** The address of a backend peer. */
export interface PeerAddress {
  readonly transport: (typeof PEER_TRANSPORTS)[number];
  readonly endpoint: string;
}

/** The executor of an operation: a child session, or a backend peer. */
export type OperationSource =
  | { readonly kind: "session_child"; readonly sessionId: SessionId }
  | { readonly kind: "backend_peer"; readonly peerId: Uuid; readonly address: PeerAddress };

/** The result of an operation that has reached a terminal state. */
export type OperationTerminalOutcome =
  | {
      readonly kind: "completed";
      readonly id: OperationId;
      readonly content: string;
      readonly isError: boolean;
      readonly durationMs: bigint;
      readonly tokensUsed: bigint;
    }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "aborted"; readonly reason?: string | undefined }
  | { readonly kind: "cancelled"; readonly reason?: string | undefined }
  | { readonly kind: "retired" }
  | { readonly kind: "terminated"; readonly reason: string };

/** The state of one operation. Counts are 0 to 2^32-1, sequences 0 to 2^64-1. */
export interface OperationState {
  readonly status: OperationStatus;
  readonly kind: OperationKind;
  readonly operationSource?: OperationSource | undefined;
  readonly peerReady: boolean;
  readonly progressCount: number;
  readonly watcherCount: number;
  readonly terminalOutcome?: OperationTerminalOutcome | undefined;
  readonly completionSequence?: bigint | undefined;
  readonly terminalBuffered: boolean;
}

/** One completion, as the runtime publishes it to its observers. */
export interface CompletionFeedEntry {
  readonly seq: bigint;
  readonly kind: OperationKind;
  readonly terminalOutcome: OperationTerminalOutcome;
}

/** The state of the part of the machine that owns the operations. All integers are 0 to 2^64-1. */
export interface OperationAuthorityState {
  /** Keyed by operation id, like the other maps of the snapshot. The order of the keys has no meaning. */
  readonly operations: Readonly<Record<OperationId, OperationState>>;
  readonly completionFeedEntries: Readonly<Record<OperationId, CompletionFeedEntry>>;
  readonly completedOrder: readonly OperationId[];
  readonly maxCompleted: bigint;
  readonly maxConcurrent?: bigint | undefined;
  readonly activeCount: bigint;
  readonly waitRequestId?: Uuid | undefined;
  readonly waitOperationIds: readonly OperationId[];
  readonly nextCompletionSeq: bigint;
}

/** The fixed properties of an operation. */
export interface OperationSpec {
  readonly id: OperationId;
  readonly kind: OperationKind;
  readonly ownerSessionId: SessionId;
  readonly displayName: string;
  readonly sourceLabel: string;
  readonly operationSource?: OperationSource | undefined;
  readonly childSessionId?: SessionId | undefined;
  readonly expectPeerChannel: boolean;
}

/** One completed operation. */
export interface CompletionEntry {
  readonly seq: bigint;
  readonly operationId: OperationId;
  readonly kind: OperationKind;
  readonly displayName: string;
  readonly terminalOutcome: OperationTerminalOutcome;
  readonly completedAtMs?: bigint | undefined;
}

/** The positions up to which completions were processed: sequences from 0 to 2^64-1. */
export interface OperationCursors {
  readonly agentAppliedCursor: bigint;
  readonly runtimeObservedSeq: bigint;
  readonly runtimeLastInjectedSeq: bigint;
}

/** The operation registry of one runtime. Each write replaces it as a whole (contract 6.2). */
export interface PersistedOpsSnapshot {
  readonly epochId: Uuid;
  readonly authorityState: OperationAuthorityState;
  readonly operationSpecs: Readonly<Record<OperationId, OperationSpec>>;
  readonly completionEntries: readonly CompletionEntry[];
  readonly cursors: OperationCursors;
}

const KIND = enumeration(OPERATION_KINDS);

const SOURCE = taggedUnion<OperationSource>("an operation source", "kind", {
  session_child: { sessionId: required("session_id", UUID) },
  backend_peer: {
    peerId: required("peer_id", UUID),
    address: required(
      "address",
      struct<PeerAddress>("a peer address", {
        transport: required("transport", enumeration(PEER_TRANSPORTS)),
        endpoint: required("endpoint", STRING),
      }),
    ),
  },
});

const TERMINAL_OUTCOME = taggedUnion<OperationTerminalOutcome>("a terminal outcome", "outcome_type", {
  completed: {
    id: required("id", UUID),
    content: required("content", STRING),
    isError: required("is_error", BOOLEAN),
    durationMs: required("duration_ms", U64),
    tokensUsed: required("tokens_used", U64),
  },
  failed: { error: required("error", STRING) },
  aborted: { reason: nullable("reason", STRING) },
  cancelled: { reason: nullable("reason", STRING) },
  retired: {},
  terminated: { reason: required("reason", STRING) },
});

const OPERATION = struct<OperationState>("an operation", {
  status: required("status", enumeration(OPERATION_STATUSES)),
  kind: required("kind", KIND),
  operationSource: requiredNullable("operation_source", SOURCE),
  peerReady: required("peer_ready", BOOLEAN),
  progressCount: required("progress_count", U32),
  watcherCount: required("watcher_count", U32),
  terminalOutcome: nullable("terminal_outcome", TERMINAL_OUTCOME),
  completionSequence: optional("completion_sequence", U64),
  terminalBuffered: required("terminal_buffered", BOOLEAN),
});

const FEED_ENTRY = struct<CompletionFeedEntry>("a completion feed entry", {
  seq: required("seq", U64),
  kind: required("kind", KIND),
  terminalOutcome: required("terminal_outcome", TERMINAL_OUTCOME),
});

const AUTHORITY_STATE = struct<OperationAuthorityState>("the authority state", {
  operations: required("operations", uuidMap(OPERATION)),
  completionFeedEntries: required("completion_feed_entries", uuidMap(FEED_ENTRY)),
  completedOrder: required("completed_order", list(UUID)),
  maxCompleted: required("max_completed", U64),
  maxConcurrent: nullable("max_concurrent", U64),
  activeCount: required("active_count", U64),
  waitRequestId: nullable("wait_request_id", UUID),
  waitOperationIds: required("wait_operation_ids", list(UUID)),
  nextCompletionSeq: required("next_completion_seq", U64),
});

const SPEC = struct<OperationSpec>("an operation spec", {
  id: required("id", UUID),
  kind: required("kind", KIND),
  ownerSessionId: required("owner_session_id", UUID),
  displayName: required("display_name", STRING),
  sourceLabel: required("source_label", STRING),
  operationSource: optional("operation_source", SOURCE),
  childSessionId: nullable("child_session_id", UUID),
  expectPeerChannel: required("expect_peer_channel", BOOLEAN),
});

const COMPLETION_ENTRY = struct<CompletionEntry>("a completion entry", {
  seq: required("seq", U64),
  operationId: required("operation_id", UUID),
  kind: required("kind", KIND),
  displayName: required("display_name", STRING),
  terminalOutcome: required("terminal_outcome", TERMINAL_OUTCOME),
  completedAtMs: nullable("completed_at_ms", U64),
});

const CURSORS = struct<OperationCursors>("cursors", {
  agentAppliedCursor: required("agent_applied_cursor", U64),
  runtimeObservedSeq: required("runtime_observed_seq", U64),
  runtimeLastInjectedSeq: required("runtime_last_injected_seq", U64),
});

export const OPS_SNAPSHOT = struct<PersistedOpsSnapshot>("an operations snapshot", {
  epochId: required("epoch_id", UUID),
  authorityState: required("authority_state", AUTHORITY_STATE),
  operationSpecs: required("operation_specs", uuidMap(SPEC)),
  completionEntries: required("completion_entries", list(COMPLETION_ENTRY)),
  cursors: required("cursors", CURSORS),
});

/** Reads the operation registry of a runtime (contract 6.1). Throws a `JsonError` when the text is not one. */
export function readOpsSnapshot(source: Uint8Array | string): PersistedOpsSnapshot {
  return readDocument(OPS_SNAPSHOT, source);
}

/**
 * Throws the `JsonError` of `readOpsSnapshot`, if it would throw one. Does not decode long strings: a snapshot may have
 * hundreds of megabytes of results. Returns the begin and the end of each long string, quotes included: a value whose text may
 * be replaced by any other string without a change of the verdict.
 */
export function checkOpsSnapshot(source: Uint8Array): readonly number[] {
  return checkDocument(OPS_SNAPSHOT, source);
}

/** Returns the canonical JSON of an operation registry. Throws a `JsonError` when a value is not allowed. */
export function writeOpsSnapshot(snapshot: PersistedOpsSnapshot): Buffer {
  return writeDocument(OPS_SNAPSHOT, snapshot);
}
