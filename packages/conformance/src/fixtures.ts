import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import type {
  DocumentPart,
  MachineLifecycle,
  OperationState,
  OperationTerminalOutcome,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  SnapshotPatch,
  StoredInputState,
  TranscriptRewriteCommit,
  Version,
} from "@bolthole/contract";

// Records and documents that the cases store. Equal arguments return equal values.

export const INSTANT = "2026-05-28T15:31:27Z";
/** The runtime that a case uses when one is enough. */
export const RUNTIME = "runtime-1";

const uuid = (kind: number, n: number): string =>
  `0198f0${kind.toString(16).padStart(2, "0")}-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;

/** Returns an input id. Ids sort in the order of `n`. */
export const inputId = (n: number): string => uuid(0x1a, n);
export const runId = (n: number): string => uuid(0x2b, n);
export const operationId = (n: number): string => uuid(0x3c, n);
export const sessionId = (n: number): string => uuid(0x51, n);

/** Returns a new UUIDv7 with this time, in milliseconds since the Unix epoch. */
export function requestIdAt(timeMs: number): string {
  const time = Math.trunc(timeMs).toString(16).padStart(12, "0");
  const random = randomBytes(10).toString("hex");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

/** Returns a new request id with the current time. */
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

/** Returns the payload of an input row as canonical JSON. */
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
 * Returns a session document with `messages` messages of `size` characters each. A longer session continues every shorter
 * one with the same id and size, so that the transcript rules accept it as the successor.
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

/**
 * Returns an operation snapshot with `count` completed operations whose results have `bytes` characters each. As in the
 * reference, the snapshot contains each result three times. More operations keep all of the fewer ones.
 */
export function opsWithResults(count: number, bytes: number): PersistedOpsSnapshot {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const each = <T>(value: (n: number) => T): Record<string, T> =>
    Object.fromEntries(numbers.map((n) => [operationId(n), value(n)]));
  const outcomes = each<OperationTerminalOutcome>((n) => ({
    kind: "completed",
    id: operationId(n),
    content: resultText(n, bytes),
    isError: false,
    durationMs: BigInt(n),
    tokensUsed: 0n,
  }));
  const outcomeOf = (n: number): OperationTerminalOutcome => outcomes[operationId(n)] ?? { kind: "retired" };
  const kind = "background_tool_op";
  return {
    epochId: uuid(0x60, 1),
    authorityState: {
      operations: each((n) => ({
        status: "completed" as const,
        kind,
        peerReady: false,
        progressCount: 0,
        watcherCount: 0,
        terminalOutcome: outcomeOf(n),
        completionSequence: BigInt(n),
        terminalBuffered: false,
      })),
      completionFeedEntries: each((n) => ({ seq: BigInt(n), kind, terminalOutcome: outcomeOf(n) })),
      completedOrder: numbers.map(operationId),
      maxCompleted: 256n,
      activeCount: 0n,
      waitOperationIds: [],
      nextCompletionSeq: BigInt(count + 1),
    },
    operationSpecs: each((n) => ({
      id: operationId(n),
      kind,
      ownerSessionId: sessionId(1),
      displayName: `operation ${String(n)}`,
      sourceLabel: "shell",
      expectPeerChannel: false,
    })),
    completionEntries: numbers.map((n) => ({
      seq: BigInt(n),
      operationId: operationId(n),
      kind,
      displayName: `operation ${String(n)}`,
      terminalOutcome: outcomeOf(n),
      completedAtMs: BigInt(n),
    })),
    cursors: { agentAppliedCursor: 0n, runtimeObservedSeq: BigInt(count), runtimeLastInjectedSeq: 0n },
  };
}

/** Returns a text of this length that no other operation has, and that repeats itself rarely. */
function resultText(n: number, length: number): string {
  let text = "";
  for (let line = 0; text.length < length; line += 1) {
    text += `${String((n * 7919 + line * line * 104_729) % 1_000_003)} of operation ${String(n)}, line ${String(line)}; `;
  }
  return text.slice(0, length);
}

/** Returns an operation snapshot with `count` operations, of every kind when there are enough of them. */
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

/** The texts of a transcript's messages. All messages are from the user, at one instant. */
export type Texts = readonly string[];

/** Returns distinct message texts of `size` characters each. */
export const someTexts = (count: number, size = 200): string[] =>
  Array.from({ length: count }, (_, n) => `message ${String(n)} `.padEnd(size, `${String(n)} `));

/** Returns the reference's digest of a list of messages, which is also the name of the transcript revision. */
const digestOf = (texts: Texts): string => {
  const messages = texts.map((content) => JSON.stringify({ role: "user", content, created_at: INSTANT }));
  return `sha256:${createHash("sha256")
    .update(`[${messages.join(",")}]`)
    .digest("hex")}`;
};

/**
 * A transcript history in the form of the reference: a whole copy of the messages for each revision, with sorted members
 * (contract 8.1).
 */
export interface History {
  readonly commits: readonly object[];
  readonly head: string;
  readonly revisions: readonly object[];
}

const TIME = { nanos_since_epoch: 0, secs_since_epoch: 1779982287 };

const revisionOf = (texts: Texts, parent?: string): object => ({
  created_at: TIME,
  messages: texts.map((content) => ({ content, created_at: INSTANT, role: "user" })),
  ...(parent === undefined ? {} : { parent_revision: parent }),
  revision: digestOf(texts),
});

/** Returns a session document with these messages, and with a transcript history when one is passed. */
export const transcript = (texts: Texts, history?: History): Buffer =>
  Buffer.from(
    JSON.stringify({
      version: 2,
      id: sessionId(1),
      messages: texts.map((content) => ({ role: "user", content, created_at: INSTANT })),
      created_at: { secs_since_epoch: 1779982287, nanos_since_epoch: 0 },
      updated_at: { secs_since_epoch: 1779982287 + texts.length, nanos_since_epoch: 0 },
      metadata: history ? { session_transcript_history_state_v1: history } : {},
      usage: { input_tokens: 0, output_tokens: 0, cache_creation_tokens: null, cache_read_tokens: null },
    }),
  );

/** The result of one transcript rewrite. */
export interface Rewrite {
  readonly texts: Texts;
  readonly history: History;
  readonly document: Buffer;
  readonly commit: TranscriptRewriteCommit;
}

/** Replaces the messages in `[start, end)` of a transcript that has no history yet. */
export function rewrite(before: Texts, start: number, end: number, replacement: Texts): Rewrite {
  const texts = [...before.slice(0, start), ...replacement, ...before.slice(end)];
  const [parentRevision, revision] = [digestOf(before), digestOf(texts)];
  const [originalSpanDigest, replacementDigest] = [digestOf(before.slice(start, end)), digestOf(replacement)];
  const history: History = {
    commits: [
      {
        committed_at: TIME,
        messages_after: texts.length,
        messages_before: before.length,
        original_span_digest: originalSpanDigest,
        parent_revision: parentRevision,
        reason: { kind: "compaction" },
        replacement_digest: replacementDigest,
        revision,
        selection: { end, start, type: "message_range" },
      },
    ],
    head: revision,
    revisions: [revisionOf(before), revisionOf(texts, parentRevision)],
  };
  const commit: TranscriptRewriteCommit = {
    parentRevision,
    revision,
    selection: { kind: "message_range", start: BigInt(start), end: BigInt(end) },
    originalSpanDigest,
    replacementDigest,
    messagesBefore: BigInt(before.length),
    messagesAfter: BigInt(texts.length),
    reason: { kind: "compaction" },
    committedAt: { seconds: BigInt(TIME.secs_since_epoch), nanos: TIME.nanos_since_epoch },
  };
  return { texts, history, document: transcript(texts, history), commit };
}

/** Returns the history after messages were appended: one more revision, which becomes the head. */
export function appended(history: History, texts: Texts): History {
  const revision = revisionOf(texts, history.head);
  return { ...history, head: digestOf(texts), revisions: [...history.revisions, revision] };
}

/** Returns a correct patch of these parts, and the document that it produces. */
export function patchOf(
  baseVersion: Version,
  base: Uint8Array,
  pieces: readonly DocumentPart[],
): { readonly patch: SnapshotPatch; readonly document: Buffer } {
  const document = Buffer.concat(
    pieces.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );
  return { patch: { baseVersion, resultLength: document.length, resultCrc32: crc32(document), pieces }, document };
}

/** Returns a patch from `base` to `document` that copies their common beginning and end. */
export function patchTo(baseVersion: Version, base: Buffer, document: Buffer): SnapshotPatch {
  const shorter = Math.min(base.length, document.length);
  let prefix = 0;
  while (prefix < shorter && base[prefix] === document[prefix]) prefix += 1;
  let suffix = 0;
  while (suffix < shorter - prefix && base.at(-1 - suffix) === document.at(-1 - suffix)) suffix += 1;
  return patchOf(baseVersion, base, [
    { offset: 0, length: prefix },
    document.subarray(prefix, document.length - suffix),
    { offset: base.length - suffix, length: suffix },
  ]).patch;
}
