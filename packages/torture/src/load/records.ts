import { createHash, randomBytes } from "node:crypto";
import type {
  Call,
  InputLifecycleState,
  OperationState,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  StoredInputState,
  Versioned,
  VersionedStore,
} from "@bolthole/contract";
import type { RecordKey } from "../ledger.js";
import type { Random } from "../random.js";

/** The instant in every record; the rules do not compare it with the clock. */
export const INSTANT = "2026-05-28T15:31:27Z";

const WORDS =
  "the of session token file path on return function import error value result await stream message test build".split(
    " ",
  );

/** Returns English words, at least `length` characters. */
export function prose(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += (WORDS[random.below(WORDS.length)] ?? "") + (random.oneIn(12) ? ".\n" : " ");
  return text;
}

export const userMessage = (content: string): string => JSON.stringify({ role: "user", content, created_at: INSTANT });

/** Returns the messages of one turn as JSON: a question, calls that read files, and the reply. */
export function exchange(random: Random, nonce: string): string[] {
  const messages: object[] = [];
  for (let call = random.below(3); call > 0; call -= 1) {
    const id = `toolu_${nonce}_${String(call)}`;
    messages.push(
      {
        role: "block_assistant",
        blocks: [
          { block_type: "text", data: { text: prose(random, 40 + random.below(200)) } },
          {
            block_type: "tool_use",
            data: { id, name: "read_file", args: { limit: 2000, offset: random.below(1000), path: "/src/main.ts" } },
          },
        ],
        stop_reason: "tool_use",
        created_at: INSTANT,
      },
      {
        role: "tool_results",
        results: [{ tool_use_id: id, content: prose(random, 200 + random.below(3000)), is_error: false }],
        created_at: INSTANT,
      },
    );
  }
  const blocks = [{ block_type: "text", data: { text: `${prose(random, 100 + random.below(800))} naïve ✓` } }];
  messages.push({ role: "block_assistant", blocks, stop_reason: "end_turn", created_at: INSTANT });
  const question = userMessage(`${nonce} ${prose(random, 80 + random.below(300))}`);
  return [question, ...messages.map((message) => JSON.stringify(message))];
}

const STATES = ["accepted", "queued", "staged", "applied", "applied_pending_consumption"] as const;

/** Returns a new UUIDv7. */
export function freshId(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  const random = randomBytes(10).toString("hex");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

/** Returns an input row in a random state. It contains `nonce`, so that all rows differ. */
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

interface OpsOptions {
  readonly newId?: () => string;
  /** The largest number of operations. */
  readonly most?: number;
}

/** Returns an operation snapshot with running background tools, up to eight unless `most` is set. */
export function opsSnapshot(
  random: Random,
  nonce: string,
  { newId = freshId, most = 8 }: OpsOptions = {},
): PersistedOpsSnapshot {
  const ids = Array.from({ length: 1 + random.below(most) }, () => newId());
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
    epochId: newId(),
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
          ownerSessionId: newId(),
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

/** Returns a digest of a value. The order of members does not matter, and an undefined member counts as absent. */
export const digestOf = (value: unknown): string => digestOfBytes(Buffer.from(sortedText(value)));

export const digestOfBytes = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("base64").slice(0, 22);

function sortedText(value: unknown): string {
  if (typeof value === "bigint") return `${value.toString()}n`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(sortedText).join()}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${sortedText(member)}`);
  return `{${members.join()}}`;
}

/** The content and version of a record as it was read. */
export interface StoredRecord {
  readonly digest: string;
  readonly version: string;
}

/** Loads one record; undefined when it is not stored. */
export async function loadRecord(
  store: VersionedStore,
  runtimeId: string,
  key: RecordKey,
  call: Call = {},
): Promise<StoredRecord | undefined> {
  const [kind = "", id = "", sequence = ""] = key.split(" ");
  switch (kind) {
    case "snapshot": {
      const loaded = await store.loadSessionSnapshot({ runtimeId }, call);
      if (!loaded) return undefined;
      const chunks: Uint8Array[] = [];
      for await (const chunk of loaded.chunks) chunks.push(chunk);
      return { digest: digestOfBytes(Buffer.concat(chunks)), version: loaded.version };
    }
    case "lifecycle":
      return seenBytes(await store.loadMachineLifecycleRecord({ runtimeId }, call));
    case "ops":
      return seenValue(await store.loadOpsLifecycle({ runtimeId }, call));
    case "input":
      return seenValue(await store.loadInputState({ runtimeId, inputId: id }, call));
    case "receipt":
      return seenValue(await store.loadBoundaryReceipt({ runtimeId, runId: id, sequence: BigInt(sequence) }, call));
    case "oauth":
      return seenBytes(await store.loadAuthOauthFlowSnapshot({}, call));
    default:
      throw new RangeError(`unknown record key: ${key}`);
  }
}

/** Loads all input rows of a runtime, by key. */
export async function loadInputs(
  store: VersionedStore,
  runtimeId: string,
  call: Call = {},
): Promise<Map<RecordKey, StoredRecord>> {
  const rows = new Map<RecordKey, StoredRecord>();
  for await (const batch of (await store.loadInputStates({ runtimeId }, call)).batches) {
    for (const { value, version } of batch) rows.set(`input ${value.inputId}`, { digest: digestOf(value), version });
  }
  return rows;
}

const seenBytes = (row: Versioned<Uint8Array> | undefined): StoredRecord | undefined =>
  row && { digest: digestOfBytes(row.value), version: row.version };

const seenValue = (row: Versioned<object> | undefined): StoredRecord | undefined =>
  row && { digest: digestOf(row.value), version: row.version };
