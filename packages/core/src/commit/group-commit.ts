import { StoreError, writeFailed } from "@bolthole/contract";
import type { Decision, Row, WriteBatch } from "../engine.js";
import { closingRefusal } from "../engine-lifecycle.js";
import { type FileGuard, LostFilesError } from "../lost-files.js";
import { ReadRows } from "./row.js";

/** A group stops growing at about this many bytes of new values. One batch alone may be larger. */
const GROUP_BYTES = 1 << 20;

/**
 * A value, or a promise of one. A synchronous engine returns the value itself, so that a group of its batches is gathered
 * without waiting for promises: this is the hot path of every small commit.
 */
export type Awaitable<T> = T | Promise<T>;

/**
 * Puts prepared work into the transaction of its group. It reads nothing, and must not throw: an error leaves a part of the work
 * in the transaction, so it ends the whole group, and nothing of the group is written.
 */
export type Apply = () => Awaitable<void>;

/** A row as a group sees it. Engines add members of their own. */
export interface GroupRow {
  readonly row: Row | undefined;
}

/** A batch after its decision, which writes something. */
export interface DecidedBatch<R extends GroupRow = GroupRow> {
  readonly batch: WriteBatch<unknown>;
  readonly decision: Decision<unknown>;
  /** The rows that `Group.read` returned for the batch. */
  readonly rows: readonly R[];
  readonly sequence: number;
}

/**
 * One transaction of an engine, into which the batches of a group are put one after the other. No two calls overlap, and the
 * last one is `flush` or `abort`.
 */
export interface Group<R extends GroupRow = GroupRow> {
  /** The commit sequence of the next batch that writes something. */
  readonly nextSequence: number;
  /**
   * Whether the group may have written something to the disk. An error before that is no failure of the disk: it refuses the
   * group, and the store continues.
   */
  readonly hasWritten: boolean;
  /**
   * Returns the rows that a batch reads, in the order of its handles, as the earlier batches of the group left them. An error
   * refuses this batch alone.
   */
  read(batch: WriteBatch<unknown>): Awaitable<readonly R[]>;
  /**
   * Checks that the writes of a batch can be applied, and changes nothing. Returns the function that applies them, or
   * undefined when they do not fit into this transaction: then the group is flushed, and the batch opens the next one. The
   * first batch of a group must fit, or be refused. An error refuses this batch alone.
   */
  prepare(decided: DecidedBatch<R>): Awaitable<Apply | undefined>;
  /**
   * Resolves when everything that was applied is durable. An engine that several processes share may return batches that were
   * not applied, because another process changed a row that they read: they are decided again in the next group. An error fails
   * the whole group.
   */
  flush(): Promise<ReadonlySet<unknown> | undefined>;
  /** Ends the transaction after an error of `flush` or of an `Apply`. Must not throw. */
  abort(): Awaitable<void>;
}

/** Work of the engine itself, done in a transaction together with the batches that wait. */
export interface MaintenanceTask<G> {
  /** About how many bytes of new values it writes. */
  readonly bytes: number;
  /** Prepares the task, by the rules of `Group.prepare`. */
  prepare(group: G): Awaitable<Apply | undefined>;
}

interface Waiting<G> {
  readonly work: WriteBatch<unknown> | MaintenanceTask<G>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Delivers the result or the refusal. Set when the work has been taken into a group. */
  settle?: () => void;
}

interface Between {
  readonly run: () => Promise<void>;
  readonly reject: (error: unknown) => void;
}

const NOTHING: Apply = () => undefined;

/**
 * Group commit: one writer puts everything that waits into one transaction, flushes it once, and then delivers all results.
 *
 * - Batches that arrive in one turn of the event loop share a group.
 * - Each batch is decided over what the batches before it left.
 * - A refusal is delivered after the flush too: it may depend on a change of the same group, so the caller must not receive
 *   it before that change is durable.
 * - When a transaction fails, its batches reject with OUTCOME_UNKNOWN, and every later write and read with SHUTTING_DOWN.
 * - When a group ends before it has written anything, its batches reject with the engine's refusal, or with INTERNAL after a defect, and
 *   later ones are taken again.
 * - When the files of the store are not at their paths any more, nothing is written: what waits, and every later write and read,
 *   rejects with SHUTTING_DOWN. The files are looked up before a group begins, so that the refusal is certain, and again after its flush,
 *   so that nothing is acknowledged which is in no file of that path.
 * - From the call of `close` on, new work rejects with SHUTTING_DOWN; the work in the queue is completed.
 *
 * The engine supplies the transactions: `begin` opens one. An error of `begin` refuses everything that waits; nothing was
 * written then, and later batches are taken again.
 */
export class GroupCommit<G extends Group> {
  private readonly queue: Waiting<G>[] = [];
  /** Work that runs between two groups. */
  private readonly between: Between[] = [];
  private running: Promise<void> | undefined;
  private failure: { readonly cause: unknown } | undefined;
  private isClosing = false;

  constructor(
    private readonly begin: () => Awaitable<G>,
    /** Called once, when a transaction failed: nothing is written any more, and the process should end. */
    private readonly onFailure: ((cause: unknown) => void) | undefined,
    private readonly guard?: FileGuard,
  ) {}

  /** Resolves with the result of the batch when its writes are durable. */
  commit<T>(batch: WriteBatch<T>): Promise<T> {
    return this.enqueue(batch) as Promise<T>;
  }

  /** Resolves when the task is durable. */
  async perform(task: MaintenanceTask<G>): Promise<void> {
    await this.enqueue(task);
  }

  /**
   * Runs work between two groups, which wait for it: no transaction is open then. Rejects with the error of the work, which changes
   * nothing else, and with SHUTTING_DOWN.
   */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const refusal = this.refusalOfWork();
    if (refusal) return Promise.reject(refusal);
    return new Promise<T>((resolve, reject) => {
      this.between.push({ run: () => work().then(resolve, reject), reject });
      this.running ??= this.run();
    });
  }

  /** Whether a transaction failed, or a reader found that one had. */
  get hasFailed(): boolean {
    return this.failure !== undefined;
  }

  /** Throws SHUTTING_DOWN after a failure: the state that can be read then may differ from the disk. */
  refuseReadsAfterFailure(): void {
    if (this.failure) throw this.refusal("ReadFailed");
  }

  /** Stops all writing and reading. For the failed group itself, and for a reader that finds the failure first. */
  stop(cause: unknown): void {
    if (this.failure) return;
    this.failure = { cause };
    this.refuseWaiting(this.refusal("WriteFailed"));
    for (const { reject } of this.between.splice(0)) reject(this.refusal("WriteFailed"));
    this.onFailure?.(cause);
  }

  /** Returns the error of every call after a failure. */
  refusal(variant: "WriteFailed" | "ReadFailed"): StoreError {
    const cause = this.failure?.cause;
    const text =
      cause instanceof LostFilesError
        ? `the store stopped: ${cause.message}`
        : "the store stopped because a write to its disk failed; repair the disk, then start the store again";
    return new StoreError(variant, "SHUTTING_DOWN", text, { cause });
  }

  /** Refuses new work, and resolves when everything in the queue is done. No transaction begins afterwards. */
  async close(): Promise<void> {
    this.isClosing = true;
    await this.running;
  }

  private refusalOfWork(): StoreError | undefined {
    if (this.failure) return this.refusal("WriteFailed");
    return this.isClosing ? closingRefusal("WriteFailed") : undefined;
  }

  private enqueue(work: WriteBatch<unknown> | MaintenanceTask<G>): Promise<unknown> {
    const refusal = this.refusalOfWork();
    if (refusal) return Promise.reject(refusal);
    return new Promise<unknown>((resolve, reject) => {
      this.queue.push({ work, resolve, reject });
      this.running ??= this.run();
    });
  }

  private async run(): Promise<void> {
    // Everything that arrives in this turn of the event loop goes into one group.
    await new Promise(setImmediate);
    while (this.queue.length > 0 || this.between.length > 0) {
      const work = this.between.shift();
      await (work ? work.run() : this.runGroup());
    }
    this.running = undefined;
  }

  private async runGroup(): Promise<void> {
    let group: G;
    try {
      // A reader may have stopped the store while a batch was put back into the queue.
      if (this.failure) throw this.refusal("WriteFailed");
      this.refuseLostFiles();
      group = await this.begin();
    } catch (error) {
      this.refuseWaiting(error);
      return;
    }
    const taken: Waiting<G>[] = [];
    let repeated: ReadonlySet<unknown> | undefined;
    try {
      await this.gather(group, taken);
      repeated = await group.flush();
    } catch (cause) {
      await group.abort();
      if (group.hasWritten) this.fail(cause, taken);
      else refuse(cause, taken);
      return;
    }
    try {
      this.guard?.();
    } catch (cause) {
      this.fail(cause, taken);
      return;
    }
    if (repeated) this.queue.unshift(...taken.filter(({ work }) => repeated.has(work)));
    for (const { work, settle } of taken) if (!repeated?.has(work)) settle?.();
  }

  /** Puts work from the queue into the group until the queue is empty or the group is full. */
  private async gather(group: G, taken: Waiting<G>[]): Promise<void> {
    let bytes = 0;
    for (let waiting = this.queue.shift(); waiting; waiting = this.queue.shift()) {
      const { work, resolve, reject } = waiting;
      if (taken.length > 0 && bytes + work.bytes > GROUP_BYTES) {
        this.queue.unshift(waiting);
        return;
      }
      let apply: Apply | undefined = NOTHING;
      try {
        let result: unknown;
        let prepared: Awaitable<Apply | undefined> = NOTHING;
        if ("decide" in work) {
          const read = group.read(work);
          const rows = read instanceof Promise ? await read : read;
          const sequence = group.nextSequence;
          const decision = work.decide(new ReadRows(rows), sequence);
          result = decision.result;
          const isChange = decision.writes.length > 0 || decision.replaceRows !== undefined;
          if (isChange) prepared = group.prepare({ batch: work, decision, rows, sequence });
        } else {
          prepared = work.prepare(group);
        }
        apply = prepared instanceof Promise ? await prepared : prepared;
        waiting.settle = () => {
          resolve(result);
        };
      } catch (error) {
        waiting.settle = () => {
          reject(error);
        };
      }
      if (!apply) {
        this.queue.unshift(waiting);
        return;
      }
      taken.push(waiting);
      bytes += work.bytes;
      const applied = apply();
      if (applied instanceof Promise) await applied;
    }
  }

  /** Rejects the batches of a group with OUTCOME_UNKNOWN: after a failed write it may be on the disk, or not, or in a removed file. */
  private fail(cause: unknown, taken: readonly Waiting<G>[]): void {
    const why = cause instanceof LostFilesError ? cause.message : "a write to the disk failed";
    const text = `${why}: the change may have been applied; repeat it with the same request id`;
    for (const { reject } of taken) reject(writeFailed("OUTCOME_UNKNOWN", text, { cause }));
    this.stop(cause);
  }

  /** Stops the store, and throws SHUTTING_DOWN, when its files are not at their paths any more. Nothing was written then. */
  private refuseLostFiles(): void {
    try {
      this.guard?.();
    } catch (cause) {
      this.stop(cause);
      throw this.refusal("WriteFailed");
    }
  }

  private refuseWaiting(error: unknown): void {
    for (const { reject } of this.queue.splice(0)) reject(error);
  }
}

/**
 * Rejects the batches of a group that ended before anything was written: with the refusal of the engine, or with INTERNAL when a defect
 * ended it.
 */
function refuse(cause: unknown, taken: readonly Pick<Waiting<never>, "reject">[]): void {
  if (cause instanceof StoreError && cause.applied === "no") {
    for (const { reject } of taken) reject(cause);
    return;
  }
  const text =
    "a defect of the store ended the commit before anything was written: the change was not applied, and the store continues; " +
    "please report it";
  for (const { reject } of taken) reject(new StoreError("Internal", "INTERNAL", text, { cause }));
}
