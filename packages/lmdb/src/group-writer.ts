import { StoreError } from "@bolthole/contract";
import type { WriteBatch } from "@bolthole/core";
import type { DiskReservation } from "./disk-reservation.js";
import type { DocumentTrees } from "./document-tree/document-trees.js";
import type { MaintenanceTask } from "./document-tree/reclaim/reclaimer.js";
import type { Environment } from "./environment.js";
import { Group, type Waiting } from "./group.js";

/** A group stops growing at about this many bytes of values; one unit alone may be larger. */
const GROUP_BYTES = 1 << 20;

/**
 * The one writer: takes what waits, lets each unit decide over what those before it left, writes the group in one
 * transaction, and answers everyone, the refused ones too, when it is flushed. A refusal may rest on a change of its own
 * group, so it must not be known earlier than that change is durable.
 */
export class GroupWriter {
  private readonly queue: Waiting[] = [];
  private running: Promise<void> | undefined;
  private failure: { readonly cause: unknown } | undefined;

  constructor(
    private readonly environment: Environment,
    private readonly room: DiskReservation,
    /** Of the last commit. */
    public sequence: number,
    private readonly trees: DocumentTrees,
    private readonly onFailure: ((cause: unknown) => void) | undefined,
  ) {}

  commit<T>(unit: WriteBatch<T>): Promise<T> {
    return this.enqueue(unit) as Promise<T>;
  }

  /** Does the engine's own work in a transaction with what else waits; resolves when it is durable. */
  async perform(chore: MaintenanceTask): Promise<void> {
    await this.enqueue(chore);
  }

  /** Nobody reads what the environment shows after a failed write: it may say what is not on the disk. */
  refuseReadsAfterFailure(): void {
    if (this.failure) throw this.refusal("ReadFailed");
  }

  /** Whether a write failed: what the native library holds may not be what is on the disk. */
  get hasFailed(): boolean {
    return this.failure !== undefined;
  }

  /** Nothing is written from here on. Those who wait are refused, the owner is told, once. */
  stop(cause: unknown): void {
    if (this.failure) return;
    this.failure = { cause };
    for (const { reject } of this.queue.splice(0)) reject(this.refusal("WriteFailed"));
    this.onFailure?.(cause);
  }

  async close(): Promise<void> {
    await this.running;
  }

  private enqueue(work: WriteBatch<unknown> | MaintenanceTask): Promise<unknown> {
    if (this.failure) return Promise.reject(this.refusal("WriteFailed"));
    return new Promise<unknown>((resolve, reject) => {
      this.queue.push({ work, resolve, reject });
      this.running ??= this.run();
    });
  }

  private async run(): Promise<void> {
    // Everything that arrived in this turn of the event loop goes into one group.
    await new Promise(setImmediate);
    while (this.queue.length > 0) await this.runGroup();
    this.running = undefined;
  }

  private async runGroup(): Promise<void> {
    const group = new Group(this.environment, this.room, this.sequence, this.trees.changes());
    const settlements: (() => void)[] = [];
    const taken: Waiting[] = [];
    try {
      for (let waiting = this.queue[0]; waiting; waiting = this.queue[0]) {
        if (taken.length > 0 && group.bytes + waiting.work.bytes > GROUP_BYTES) break;
        const settle = group.take(waiting) ?? (await this.takeWithRoom(group, waiting));
        if (!settle) break;
        this.queue.shift();
        taken.push(waiting);
        settlements.push(settle);
      }
      await group.flush();
    } catch (cause) {
      this.fail(cause, taken);
      return;
    }
    this.sequence = group.sequence;
    this.trees.flushed(group.documents);
    for (const settle of settlements) settle();
  }

  /** Makes room for a unit that does not fit. With none to be had it is refused; in a group that already writes it waits. */
  private async takeWithRoom(group: Group, waiting: Waiting): Promise<(() => void) | undefined> {
    await this.room.prepare(group.wanted);
    return group.take(waiting, !group.isWriting);
  }

  /** After a failed write nothing is certain any more: everyone in the group is told so, everyone else is refused. */
  private fail(cause: unknown, group: readonly Waiting[]): void {
    for (const { reject } of group) {
      reject(
        new StoreError("Internal", "OUTCOME_UNKNOWN", "the disk failed while the change was being written", { cause }),
      );
    }
    this.stop(cause);
  }

  /** What everybody is told after a failed write. */
  refusal(variant: "WriteFailed" | "ReadFailed"): StoreError {
    return new StoreError(variant, "SHUTTING_DOWN", "the store stopped after the disk failed", {
      cause: this.failure?.cause,
    });
  }
}
