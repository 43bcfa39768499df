import type { Environment } from "../environment.js";
import { DEFAULT_ROW_SPACE, LONGEST_KEY_BYTES, rowSpaceBounds, rowSpaceOf } from "../keys.js";
import type { RowTask, SpaceChanges } from "./space-changes.js";
import { decodeOwner } from "./space-records.js";

/** The most rows that one transaction deletes: a few milliseconds of the event loop. */
export const RECLAIMED_TOGETHER = 256;
/** A transaction also ends with the row that makes the deleted values this long: LMDB lists each of their pages as free. */
const RECLAIMED_BYTES = 16 << 20;
/**
 * The load of one deleted row, as a number of document nodes: it may be the last row in its page, and the pages of a long value
 * are listed as free.
 */
const NODES_PER_ROW = 8;
/** The assumed size of a record or pointer that is deleted. */
const RECORD_BYTES = 64;
/** The delay after the writer refused, for example because the disk is full. */
const RETRY_MS = 1000;

/**
 * Deletes row spaces that were replaced or never committed, in small transactions of the writer. Readers do not delay it: they
 * read rows inside a read transaction, which keeps its state. A crash leaves the records, and the next start continues with
 * them.
 */
export class RowReclaimer {
  /** The keys of staging and garbage records. */
  private readonly pending: Buffer[] = [];
  /** The number of records that were done. */
  private completed = 0;
  private running: Promise<boolean> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly environment: Environment,
    /** Hands a task to the writer. Resolves when the task is durable. */
    private readonly perform: (task: RowTask) => Promise<void>,
  ) {}

  /** Adds staging records that no commit will take, and garbage records. */
  add(records: readonly Buffer[]): void {
    for (const key of records) this.pending.push(key);
    if (this.pending.length > 0) this.wake(0);
  }

  /** Resolves when what is to be deleted now is deleted, or when the writer refused. */
  async reclaimed(): Promise<void> {
    const last = this.completed + this.pending.length;
    while (this.completed < last && !this.isClosed) {
      if (!(await (this.running ?? this.run()))) return;
    }
  }

  /** Waits for the transaction that is being written. The rest is left for the next start. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private wake(delayMs: number): void {
    if (this.isClosed || this.running) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.run(), delayMs).unref();
  }

  /** Resolves to false when the writer refused. */
  private run(): Promise<boolean> {
    clearTimeout(this.timer);
    this.running = this.reclaimAll();
    void this.running.then((hasSucceeded) => {
      this.running = undefined;
      if (this.pending.length > 0) this.wake(hasSucceeded ? 0 : RETRY_MS);
    });
    return this.running;
  }

  private async reclaimAll(): Promise<boolean> {
    try {
      for (let [key] = this.pending; key && !this.isClosed; [key] = this.pending) {
        if (!(await this.reclaimSlice(key))) continue;
        this.pending.shift();
        this.completed += 1;
      }
      return true;
    } catch {
      // The writer has already reported its failure.
      return false;
    }
  }

  /** Deletes some rows in one transaction. Returns true when the record is done. */
  private async reclaimSlice(key: Buffer): Promise<boolean> {
    let isDone = false;
    await this.perform({
      bytes: 0,
      load: {
        values: [RECORD_BYTES, RECORD_BYTES],
        keyBytes: LONGEST_KEY_BYTES,
        parts: [],
        dropped: RECLAIMED_TOGETHER * NODES_PER_ROW,
      },
      frees: true,
      plan: (changes) => {
        const step = planReclaim(changes, this.environment, key, RECLAIMED_TOGETHER);
        ({ isDone } = step);
        return step.apply;
      },
    });
    return isDone;
  }
}

/** A part of the deletion of a row space. */
interface ReclaimStep {
  /** Whether nothing is left to delete after `apply`. */
  readonly isDone: boolean;
  apply(): void;
}

const NOTHING_LEFT: ReclaimStep = { isDone: true, apply: () => undefined };

/**
 * Plans the deletion of at most `budget` rows of the row space of a staging or garbage record. The work is done also when the
 * record is gone, because a commit has taken the rows, and when it is damaged: then it is not changed, and a check of the store
 * reports it. The record is deleted in a transaction of its own, so that no transaction deletes a row and then uses the row
 * space again.
 */
export function planReclaim(changes: SpaceChanges, environment: Environment, key: Buffer, budget: number): ReclaimStep {
  const value = environment.get(key);
  const runtimeId = value && decodeOwner(key, value);
  if (runtimeId === undefined) return NOTHING_LEFT;
  const space = rowSpaceOf(key);
  const { start, end } = rowSpaceBounds(runtimeId, space);
  const rows = withinBytes(environment, environment.firstKeys(start, end, budget));
  if (rows.length > 0) {
    const apply = (): void => {
      for (const row of rows) changes.put(row, undefined);
    };
    return { isDone: false, apply };
  }
  const removePointer = space === DEFAULT_ROW_SPACE ? changes.planRemoval(runtimeId) : () => undefined;
  if (!removePointer) return { isDone: false, apply: () => undefined };
  const apply = (): void => {
    removePointer();
    changes.finish(key);
  };
  return { isDone: true, apply };
}

/** Returns the first rows whose values together have `RECLAIMED_BYTES`, or all of them when they have less. */
function withinBytes(environment: Environment, rows: readonly Buffer[]): readonly Buffer[] {
  let bytes = 0;
  const end = rows.findIndex((row) => (bytes += environment.sizeOf(row)) >= RECLAIMED_BYTES);
  return end < 0 ? rows : rows.slice(0, end + 1);
}
