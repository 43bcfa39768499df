import type { OperationId, SessionId, Uuid } from "./ids.js";

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

export const OPERATION_KINDS = ["mob_member_child", "background_tool_op", "background_tool_capacity_slot"] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

export const PEER_TRANSPORTS = ["inproc", "uds", "tcp"] as const;

export interface PeerAddress {
  readonly transport: (typeof PEER_TRANSPORTS)[number];
  readonly endpoint: string;
}

export type OperationSource =
  | { readonly kind: "session_child"; readonly sessionId: SessionId }
  | { readonly kind: "backend_peer"; readonly peerId: Uuid; readonly address: PeerAddress };

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

export interface CompletionFeedEntry {
  readonly seq: bigint;
  readonly kind: OperationKind;
  readonly terminalOutcome: OperationTerminalOutcome;
}

export interface OperationAuthorityState {
  /** Keyed by operation id. The order of the three maps means nothing. */
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

export interface CompletionEntry {
  readonly seq: bigint;
  readonly operationId: OperationId;
  readonly kind: OperationKind;
  readonly displayName: string;
  readonly terminalOutcome: OperationTerminalOutcome;
  readonly completedAtMs?: bigint | undefined;
}

export interface OperationCursors {
  readonly agentAppliedCursor: bigint;
  readonly runtimeObservedSeq: bigint;
  readonly runtimeLastInjectedSeq: bigint;
}

/** The operation registry of one runtime, replaced as a whole at every persist (section 6). */
export interface PersistedOpsSnapshot {
  readonly epochId: Uuid;
  readonly authorityState: OperationAuthorityState;
  readonly operationSpecs: Readonly<Record<OperationId, OperationSpec>>;
  readonly completionEntries: readonly CompletionEntry[];
  readonly cursors: OperationCursors;
}
