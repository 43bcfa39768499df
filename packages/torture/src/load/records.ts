import { randomBytes } from "node:crypto";
import type {
  InputLifecycleState,
  OperationState,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  StoredInputState,
} from "@bolthole/contract";
import type { Random } from "../random.js";
import { prose } from "./transcript-prose.js";

const INSTANT = "2026-05-28T15:31:27Z";
const STATES = ["accepted", "queued", "staged", "applied", "applied_pending_consumption"] as const;

/** A UUIDv7 of this moment. */
export function freshId(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  const random = randomBytes(10).toString("hex");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

/** An input row in its next state. `nonce` is in it, so that no two rows are ever alike. */
export function inputRow(random: Random, inputId: string, nonce: string): StoredInputState {
  const text = `${nonce} ${prose(random, 40 + random.below(500))}`;
  const isOver = random.oneIn(4);
  const state: InputLifecycleState = isOver ? "consumed" : (STATES[random.below(STATES.length)] ?? "queued");
  return {
    inputId,
    currentState: state,
    terminalOutcome: isOver ? { kind: "consumed" } : undefined,
    durability: "durable",
    idempotencyKey: nonce,
    attemptCount: random.below(3),
    recoveryCount: random.below(100),
    history: [{ timestamp: INSTANT, from: "accepted", to: state, reason: nonce }],
    persistedInput:
      `{"input_type":"prompt","header":{"id":"${inputId}","timestamp":"${INSTANT}","source":{"type":"operator"},` +
      `"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},"text":${JSON.stringify(text)}}`,
    admissionSequence: BigInt(random.below(1_000_000)),
    createdAt: INSTANT,
    updatedAt: INSTANT,
  };
}

export const boundaryReceipt = (
  runId: string,
  sequence: bigint,
  inputIds: readonly string[],
  messageCount: number,
  nonce: string,
): RunBoundaryReceipt => ({
  runId,
  boundary: "run_checkpoint",
  contributingInputIds: inputIds,
  conversationDigest: nonce,
  messageCount: BigInt(messageCount),
  sequence,
});

/** A registry of a few operations, as a runtime with background tools leaves it. */
export function opsSnapshot(random: Random, nonce: string): PersistedOpsSnapshot {
  const ids = Array.from({ length: 1 + random.below(8) }, freshId);
  const kind = "background_tool_op";
  const operation = (): OperationState => ({
    status: "running",
    kind,
    peerReady: false,
    progressCount: random.below(1000),
    watcherCount: 0,
    terminalBuffered: false,
  });
  return {
    epochId: freshId(),
    authorityState: {
      operations: Object.fromEntries(ids.map((id) => [id, operation()])),
      completionFeedEntries: {},
      completedOrder: [],
      maxCompleted: 256n,
      activeCount: BigInt(ids.length),
      waitOperationIds: [],
      nextCompletionSeq: 1n,
    },
    operationSpecs: Object.fromEntries(
      ids.map((id) => [
        id,
        {
          id,
          kind,
          ownerSessionId: freshId(),
          displayName: nonce,
          sourceLabel: prose(random, 60),
          expectPeerChannel: false,
        },
      ]),
    ),
    completionEntries: [],
    cursors: { agentAppliedCursor: 0n, runtimeObservedSeq: 0n, runtimeLastInjectedSeq: 0n },
  };
}
