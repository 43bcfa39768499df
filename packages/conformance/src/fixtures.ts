import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import type {
  MachineLifecycle,
  OperationState,
  OperationTerminalOutcome,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  StoredInputState,
} from "@bolthole/contract";

export const INSTANT = "2026-05-28T15:31:27Z";
export const RUNTIME = "runtime-1";

const uuid = (kind: number, n: number): string =>
  `0198f0${kind.toString(16).padStart(2, "0")}-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;

/** In the order of `n`. */
export const inputId = (n: number): string => uuid(0x1a, n);
export const runId = (n: number): string => uuid(0x2b, n);
export const operationId = (n: number): string => uuid(0x3c, n);
export const sessionId = (n: number): string => uuid(0x51, n);

/** A UUIDv7 of that instant. */
export function requestIdAt(timeMs: number): string {
  const time = Math.trunc(timeMs).toString(16).padStart(12, "0");
  const random = randomBytes(10).toString("hex");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

export const freshRequestId = (): string => requestIdAt(Date.now());

export const inputState = (n: number, members: Partial<StoredInputState> = {}): StoredInputState => ({
  inputId: inputId(n),
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: INSTANT,
  updatedAt: INSTANT,
  ...members,
});

/** A payload in its written form. */
export const promptPayload = (n: number, text: string): string =>
  `{"input_type":"prompt","header":{"id":"${inputId(n)}","timestamp":"${INSTANT}","source":{"type":"operator"},` +
  `"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},"text":${JSON.stringify(text)}}`;

export const receipt = (
  run: number,
  sequence: bigint,
  members: Partial<RunBoundaryReceipt> = {},
): RunBoundaryReceipt => ({
  runId: runId(run),
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence,
  ...members,
});

export const lifecycle = (
  runtimeState: MachineLifecycle["runtimeState"],
  binding: MachineLifecycle["binding"] = {},
): MachineLifecycle => ({ runtimeState, binding });

/**
 * A session of `messages` messages of `size` characters each. Every longer one of the same id continues the shorter ones,
 * so that it stays a legal successor under the transcript rules.
 */
export function session(id: number, messages: number, size = 8): Buffer {
  const time = `{"secs_since_epoch":1779982287,"nanos_since_epoch":123456789}`;
  const text = Array.from(
    { length: messages },
    (_, index) => `{"role":"user","content":"${String(index).padEnd(size, "x")}","created_at":"${INSTANT}"}`,
  ).join(",");
  return Buffer.from(
    `{"version":2,"id":"${sessionId(id)}","messages":[${text}],"created_at":${time},"updated_at":${time},"metadata":{},` +
      `"usage":{"input_tokens":0,"output_tokens":0,"cache_creation_tokens":null,"cache_read_tokens":null}}`,
  );
}

const OUTCOMES: readonly OperationTerminalOutcome[] = [
  {
    kind: "completed",
    id: operationId(0),
    content: "done \u{1f600}",
    isError: false,
    durationMs: 2n ** 64n - 1n,
    tokensUsed: 0n,
  },
  { kind: "failed", error: "" },
  { kind: "aborted", reason: "why" },
  { kind: "aborted" },
  { kind: "cancelled" },
  { kind: "retired" },
  { kind: "terminated", reason: "end" },
];

function operation(n: number): OperationState {
  const terminalOutcome = OUTCOMES[n % OUTCOMES.length];
  return {
    status: n % 2 === 0 ? "completed" : "running",
    kind: n % 2 === 0 ? "background_tool_op" : "mob_member_child",
    operationSource:
      n % 3 === 0
        ? { kind: "backend_peer", peerId: sessionId(n), address: { transport: "uds", endpoint: "/tmp/peer" } }
        : n % 3 === 1
          ? { kind: "session_child", sessionId: sessionId(n) }
          : undefined,
    peerReady: n % 2 === 1,
    progressCount: n,
    watcherCount: 2 ** 32 - 1,
    terminalOutcome: n % 2 === 0 ? terminalOutcome : undefined,
    completionSequence: n % 2 === 0 ? BigInt(n) : undefined,
    terminalBuffered: n % 2 === 0,
  };
}

/** A registry of `count` operations of every kind. */
export function opsSnapshot(count: number, epoch = 1): PersistedOpsSnapshot {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const outcome = (n: number): OperationTerminalOutcome => OUTCOMES[n % OUTCOMES.length] ?? { kind: "retired" };
  return {
    epochId: uuid(0x60, epoch),
    authorityState: {
      operations: Object.fromEntries(numbers.map((n) => [operationId(n), operation(n)])),
      completionFeedEntries: Object.fromEntries(
        numbers.map((n) => [
          operationId(n),
          { seq: BigInt(n), kind: "background_tool_op" as const, terminalOutcome: outcome(n) },
        ]),
      ),
      completedOrder: numbers.map(operationId).reverse(),
      maxCompleted: 256n,
      maxConcurrent: count % 2 === 0 ? undefined : 4n,
      activeCount: BigInt(count),
      waitRequestId: count % 2 === 0 ? undefined : operationId(9),
      waitOperationIds: numbers.slice(0, 2).map(operationId),
      nextCompletionSeq: 2n ** 64n - 1n,
    },
    operationSpecs: Object.fromEntries(
      numbers.map((n) => [
        operationId(n),
        {
          id: operationId(n),
          kind: "background_tool_op" as const,
          ownerSessionId: sessionId(1),
          displayName: `operation ${String(n)}`,
          sourceLabel: "",
          childSessionId: n % 2 === 0 ? sessionId(n) : undefined,
          expectPeerChannel: n % 2 === 0,
        },
      ]),
    ),
    completionEntries: numbers.map((n) => ({
      seq: BigInt(n),
      operationId: operationId(n),
      kind: "background_tool_op" as const,
      displayName: `operation ${String(n)}`,
      terminalOutcome: outcome(n),
      completedAtMs: n % 2 === 0 ? undefined : BigInt(n),
    })),
    cursors: { agentAppliedCursor: 1n, runtimeObservedSeq: 2n, runtimeLastInjectedSeq: 3n },
  };
}
