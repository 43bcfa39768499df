import type { RuntimeStore, StoredInputState } from "@bolthole/contract";
import { Random } from "@bolthole/core/testing";
import { IncorrectResponseError } from "../load/loops.js";
import { type Conversation, denseText } from "./conversation.js";

const INSTANT = "2026-05-28T15:31:27.123456789Z";
const PROMPT_BYTES = 550;

const inputIdOf = (index: number): string => `0198f0a0-0001-7000-8000-${index.toString(16).padStart(12, "0")}`;

/** Makes the input row of a consumed prompt, about 1.2 KB when stored. Each attempt makes a different row. */
function consumedInputRow(index: number, attemptCount: number): StoredInputState {
  const inputId = inputIdOf(index);
  return {
    inputId,
    currentState: "consumed",
    terminalOutcome: { kind: "consumed" },
    durability: "durable",
    attemptCount,
    recoveryCount: 0,
    history: [
      { timestamp: INSTANT, from: "accepted", to: "queued" },
      { timestamp: INSTANT, from: "queued", to: "staged" },
    ],
    persistedInput: JSON.stringify({
      input_type: "prompt",
      header: {
        id: inputId,
        timestamp: INSTANT,
        source: { type: "operator" },
        durability: "durable",
        visibility: { transcript_eligible: true, operator_eligible: true },
      },
      text: denseText(new Random(index), PROMPT_BYTES),
    }),
    createdAt: INSTANT,
    updatedAt: INSTANT,
  };
}

const LIFECYCLE = { runtimeState: "idle", binding: { fenceToken: 7n } } as const;

/** A prepared call. Preparing it is not part of the measured time. */
export type Ready = () => Promise<void>;

/**
 * A runtime with a session and input rows. Like the reference, it passes the whole document and every input row to the store
 * at each boundary.
 */
export class LiveSession {
  private sequence = 0n;
  private readonly attempts: number[];

  constructor(
    private readonly store: RuntimeStore,
    readonly runtimeId: string,
    readonly conversation: Conversation,
    rows: number,
  ) {
    this.attempts = new Array<number>(rows).fill(0);
  }

  async start(): Promise<void> {
    await this.store.commitSessionSnapshot(this.runtimeId, { sessionSnapshot: this.conversation.document() });
    await this.store.commitMachineLifecycle(this.runtimeId, LIFECYCLE, this.rows());
  }

  /** Prepares a boundary with that many bytes of messages, a receipt, and one changed input row. */
  turn(bytes: number): Ready {
    const { conversation, attempts } = this;
    conversation.addTurn(bytes);
    const changed = Number(this.sequence) % attempts.length;
    attempts[changed] = (attempts[changed] ?? 0) + 1;
    this.sequence += 1n;
    const sessionSnapshot = conversation.document();
    const receipt = {
      runId: conversation.id,
      boundary: "run_checkpoint",
      contributingInputIds: [inputIdOf(changed)],
      conversationDigest: conversation.digest(),
      messageCount: BigInt(conversation.length),
      sequence: this.sequence,
    } as const;
    const rows = this.rows();
    return () => this.store.atomicApply(this.runtimeId, { sessionSnapshot }, receipt, rows, conversation.id);
  }

  rewrite(start: number, end: number): Ready {
    const commit = this.conversation.rewrite(start, end);
    const sessionSnapshot = this.conversation.document();
    return () => this.store.commitSessionTranscriptRewriteSnapshot(this.runtimeId, { sessionSnapshot }, commit);
  }

  /** Loads everything and compares all bytes of the document. */
  async verify(): Promise<void> {
    const document = await this.store.loadSessionSnapshot(this.runtimeId);
    if (!document || Buffer.compare(document, this.conversation.document()) !== 0) {
      throw new IncorrectResponseError(`${this.runtimeId}: the loaded document is not the committed one`);
    }
    const rows = await this.store.loadInputStates(this.runtimeId);
    const isRight = rows.every(({ inputId, attemptCount }, index) => {
      return inputId === inputIdOf(index) && attemptCount === this.attempts[index];
    });
    if (!isRight || rows.length !== this.attempts.length) {
      throw new IncorrectResponseError(`${this.runtimeId}: the loaded input rows are not the committed ones`);
    }
    const receipt = await this.store.loadBoundaryReceipt(this.runtimeId, this.conversation.id, this.sequence);
    if (this.sequence > 0n && receipt?.messageCount === undefined) {
      throw new IncorrectResponseError(`${this.runtimeId}: the last receipt is not stored`);
    }
  }

  private rows(): StoredInputState[] {
    return this.attempts.map((attempt, index) => consumedInputRow(index, attempt));
  }
}
