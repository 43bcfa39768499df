import { StoreError, writeFailed } from "@bolthole/contract";
import type { WriteBatch } from "@bolthole/core";
import { type SqliteConnection, isBusy } from "./connection.js";
import type { Rows } from "./rows.js";
import type { Mutex } from "./mutex.js";

/** A group stops growing at about this many bytes of values; one unit alone may be larger. */
const GROUP_BYTES = 1 << 20;

interface Waiting {
  readonly unit: WriteBatch<unknown>;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one writer: takes what waits, and runs it in one transaction, each unit over what those before it left. A unit
 * decides before anything of it is written, so a refused one leaves nothing to undo. Everyone is answered when the
 * transaction is durable, the refused ones too: a refusal may rest on a change of its own group.
 */
export class GroupWriter {
  private readonly queue: Waiting[] = [];
  private running: Promise<void> | undefined;
  private failure: unknown;

  constructor(
    private readonly connection: SqliteConnection,
    private readonly rows: Rows,
    private readonly turns: Mutex,
    private readonly onFailure: ((cause: unknown) => void) | undefined,
  ) {}

  commit<T>(unit: WriteBatch<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ unit, resolve: resolve as (answer: unknown) => void, reject });
      this.running ??= this.run();
    });
  }

  /** Waits for what is in the queue. */
  async close(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    // Everything that arrived in this turn of the event loop goes into one group.
    await new Promise(setImmediate);
    while (this.queue.length > 0) await this.turns.take(() => this.runGroup());
    this.running = undefined;
  }

  private async runGroup(): Promise<void> {
    const taken: Waiting[] = [];
    try {
      if (this.failure !== undefined) throw stopped(this.failure);
      await this.begin();
    } catch (error) {
      for (const { reject } of this.queue.splice(0)) reject(error);
      return;
    }
    const settlements: (() => void)[] = [];
    try {
      await this.rows.refresh();
      const before = await this.rows.sequence();
      let sequence = before;
      let bytes = 0;
      for (let waiting = this.queue[0]; waiting; waiting = this.queue[0]) {
        if (taken.length > 0 && bytes + waiting.unit.bytes > GROUP_BYTES) break;
        this.queue.shift();
        taken.push(waiting);
        bytes += waiting.unit.bytes;
        const { settle, hasWritten } = await this.take(waiting, sequence + 1);
        settlements.push(settle);
        if (hasWritten) sequence += 1;
      }
      if (sequence > before) await this.rows.setSequence(sequence);
      await this.connection.exec("COMMIT");
    } catch (cause) {
      await this.fail(cause, taken);
      return;
    }
    for (const settle of settlements) settle();
  }

  private async begin(): Promise<void> {
    try {
      await this.connection.exec("BEGIN IMMEDIATE");
    } catch (cause) {
      if (!isBusy(cause)) throw cause;
      throw writeFailed("BUSY", "another process has been writing to the database for too long", { cause });
    }
  }

  /** Decides a unit and writes what it decided; answers how to tell its caller once the group is durable. */
  private async take(
    { unit, resolve, reject }: Waiting,
    sequence: number,
  ): Promise<{ settle: () => void; hasWritten: boolean }> {
    const rows = [];
    for (const key of unit.reads) rows.push(await this.rows.get(key));
    let decision;
    try {
      decision = unit.decide(rows, sequence);
    } catch (error) {
      return {
        settle: () => {
          reject(error);
        },
        hasWritten: false,
      };
    }
    const { writes, result: answer } = decision;
    for (const { at, row, document } of writes) {
      const key = unit.reads[at];
      if (!key) throw new RangeError("a unit wrote a row that it had not read");
      await this.rows.put(key, row, document);
    }
    return {
      settle: () => {
        resolve(answer);
      },
      hasWritten: writes.length > 0,
    };
  }

  /** After a failed write nothing is certain any more: everyone in the group is told so, everyone else is refused. */
  private async fail(cause: unknown, group: readonly Waiting[]): Promise<void> {
    this.failure = cause;
    this.rows.forget();
    // The failure may have ended the transaction already.
    await this.connection.exec("ROLLBACK").catch(() => undefined);
    for (const { reject } of group) {
      reject(
        new StoreError("Internal", "OUTCOME_UNKNOWN", "the disk failed while the change was being written", { cause }),
      );
    }
    for (const { reject } of this.queue.splice(0)) reject(stopped(cause));
    this.onFailure?.(cause);
  }
}

const stopped = (cause: unknown): StoreError =>
  new StoreError("WriteFailed", "SHUTTING_DOWN", "the store stopped writing after the disk failed", { cause });
