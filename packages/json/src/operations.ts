import type { Buffer } from "node:buffer";

import {
  type CompletionEntry,
  type CompletionFeedEntry,
  OPERATION_KINDS,
  OPERATION_STATUSES,
  type OperationAuthorityState,
  type OperationCursors,
  type OperationSource,
  type OperationSpec,
  type OperationState,
  type OperationTerminalOutcome,
  PEER_TRANSPORTS,
  type PeerAddress,
  type PersistedOpsSnapshot,
} from "./model/index.js";
import { list, uuidMap } from "./collection.js";
import { readDocument, writeDocument } from "./document.js";
import { BOOLEAN, STRING, U32, U64, UUID, enumeration } from "./scalar.js";
import { nullable, optional, required, requiredNullable } from "./field.js";
import { struct } from "./struct.js";
import { taggedUnion } from "./union.js";

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

/** Section 6. */
const OPS_SNAPSHOT = struct<PersistedOpsSnapshot>("an operations snapshot", {
  epochId: required("epoch_id", UUID),
  authorityState: required("authority_state", AUTHORITY_STATE),
  operationSpecs: required("operation_specs", uuidMap(SPEC)),
  completionEntries: required("completion_entries", list(COMPLETION_ENTRY)),
  cursors: required("cursors", CURSORS),
});

export function readOpsSnapshot(source: Uint8Array | string): PersistedOpsSnapshot {
  return readDocument(OPS_SNAPSHOT, source);
}

export function writeOpsSnapshot(snapshot: PersistedOpsSnapshot): Buffer {
  return writeDocument(OPS_SNAPSHOT, snapshot);
}
