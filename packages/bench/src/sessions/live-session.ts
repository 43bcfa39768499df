import type { RuntimeStore, StoredInputState } from "@bolthole/contract";
import { WrongAnswer } from "../wrong-answer.js";
import type { Conversation } from "./conversation.js";
import { inputIdOf, ledgerRow } from "./ledger-row.js";

const LIFECYCLE = { runtimeState: "idle", binding: { fenceToken: 7n } } as const;

/** A call that is ready to be made: what the runtime does before it is not the store's time. */
export type Ready = () => Promise<void>;

/**
 * A runtime with a session and a ledger of inputs. It hands over what the reference hands over: at each boundary the whole
 * document and every row of the ledger, freshly built.
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

  /** A boundary with so many bytes of messages, a receipt, and one row of the ledger that changed. */
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

  /** Loads everything, and compares the document to the byte. */
  async verify(): Promise<void> {
    const document = await this.store.loadSessionSnapshot(this.runtimeId);
    if (!document || Buffer.compare(document, this.conversation.document()) !== 0) {
      throw new WrongAnswer(`${this.runtimeId}: the loaded document is not the committed one`);
    }
    const rows = await this.store.loadInputStates(this.runtimeId);
    const isRight = rows.every(({ inputId, attemptCount }, index) => {
      return inputId === inputIdOf(index) && attemptCount === this.attempts[index];
    });
    if (!isRight || rows.length !== this.attempts.length) {
      throw new WrongAnswer(`${this.runtimeId}: the loaded ledger is not the committed one`);
    }
    const receipt = await this.store.loadBoundaryReceipt(this.runtimeId, this.conversation.id, this.sequence);
    if (this.sequence > 0n && receipt?.messageCount === undefined) {
      throw new WrongAnswer(`${this.runtimeId}: the last receipt is not there`);
    }
  }

  private rows(): StoredInputState[] {
    return this.attempts.map((attempt, index) => ledgerRow(index, attempt));
  }
}
