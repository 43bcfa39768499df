import { StoreError } from "@bolthole/contract";
import { Moved, type RowKey, type Unit, type Write } from "@bolthole/core";
import type { DocumentTrees } from "./document-tree/document-trees.js";
import type { Chore } from "./document-tree/reclaimer.js";
import type { StagedTree } from "./document-tree/staged-tree.js";
import type { TreeChanges } from "./document-tree/tree-changes.js";
import type { Environment } from "./environment.js";
import { SEQUENCE_KEY, encodeKey, isHashedId } from "./keys.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";

/** A group stops growing at about this many bytes of values; one unit alone may be larger. */
const GROUP_BYTES = 1 << 20;

interface Waiting {
  readonly work: Unit<unknown> | Chore;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The one writer: takes what waits, lets each unit decide over what those before it left, writes the group in one
 * transaction, and answers everyone, the refused ones too, when it is flushed. A refusal may rest on a change of its own
 * group, so it must not be known earlier than that change is durable.
 */
export class GroupWriter {
  private readonly queue: Waiting[] = [];
  private running: Promise<void> | undefined;
  private failure: unknown;

  constructor(
    private readonly environment: Environment,
    /** Of the last commit. */
    public sequence: number,
    private readonly trees: DocumentTrees,
    private readonly onFailure: ((cause: unknown) => void) | undefined,
  ) {}

  commit<T>(unit: Unit<T>): Promise<T> {
    return this.enqueue(unit) as Promise<T>;
  }

  /** Does the engine's own work in a transaction with what else waits; resolves when it is durable. */
  async perform(chore: Chore): Promise<void> {
    await this.enqueue(chore);
  }

  async close(): Promise<void> {
    await this.running;
  }

  private enqueue(work: Unit<unknown> | Chore): Promise<unknown> {
    if (this.failure !== undefined) return Promise.reject(stopped(this.failure));
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
    const group = new Group(this.environment, this.sequence, this.trees.changes());
    const settlements: (() => void)[] = [];
    const taken: Waiting[] = [];
    for (let waiting = this.queue[0]; waiting; waiting = this.queue[0]) {
      if (taken.length > 0 && group.bytes + waiting.work.bytes > GROUP_BYTES) break;
      this.queue.shift();
      taken.push(waiting);
      settlements.push(group.take(waiting));
    }
    try {
      await group.flush();
    } catch (cause) {
      this.fail(cause, taken);
      return;
    }
    this.sequence = group.sequence;
    this.trees.flushed(group.documents);
    for (const settle of settlements) settle();
  }

  /** After a failed write nothing is certain any more: everyone in the group is told so, everyone else is refused. */
  private fail(cause: unknown, group: readonly Waiting[]): void {
    this.failure = cause;
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

/** A row as the group sees it: as it was, or as a unit before left it. */
interface Slot {
  readonly key: Buffer;
  row: StoredRow | undefined;
  isChanged: boolean;
}

/** The units of one transaction, each decided over what those before it left. */
class Group {
  bytes = 0;
  private readonly slots = new Map<string, Slot>();

  constructor(
    private readonly environment: Environment,
    public sequence: number,
    readonly documents: TreeChanges,
  ) {}

  /** Decides a unit or does a chore; answers how to tell its caller once the group is durable. */
  take({ work, resolve, reject }: Waiting): () => void {
    try {
      let answer: unknown;
      if ("decide" in work) answer = this.decide(work);
      else work.apply(this.documents);
      this.bytes += work.bytes;
      return () => {
        resolve(answer);
      };
    } catch (error) {
      return () => {
        reject(error);
      };
    }
  }

  private decide(unit: Unit<unknown>): unknown {
    const sequence = this.sequence + 1;
    const slots = unit.reads.map((key) => this.slot(encodeKey(key)));
    const { writes, answer } = unit.decide(
      slots.map(({ row }) => row),
      sequence,
    );
    // Before anything is changed: a document that shares nodes with another fits that one only.
    for (const { at, document } of writes) {
      const { base } = (document as StagedTree | undefined) ?? {};
      if (base !== undefined && base !== slots[at]?.row?.sequence) throw new Moved();
    }
    for (const write of writes) this.put(write, unit.reads[write.at], slots[write.at], sequence);
    if (writes.length > 0) this.sequence = sequence;
    return answer;
  }

  async flush(): Promise<void> {
    const puts = this.documents.puts();
    for (const { key, row, isChanged } of this.slots.values()) {
      if (isChanged) puts.push([key, row && encodeRecord(row)]);
    }
    if (puts.length === 0) return;
    const sequence = Buffer.allocUnsafe(8);
    sequence.writeDoubleLE(this.sequence);
    puts.push([SEQUENCE_KEY, sequence]);
    await this.environment.write(puts);
  }

  private slot(key: Buffer): Slot {
    const text = key.toString("latin1");
    let slot = this.slots.get(text);
    if (!slot) {
      const record = this.environment.get(key);
      slot = { key, row: record && decodeRecord(record), isChanged: false };
      this.slots.set(text, slot);
    }
    return slot;
  }

  private put({ row, document }: Write, key: RowKey | undefined, slot: Slot | undefined, sequence: number): void {
    if (!key || !slot) throw new RangeError("a unit wrote a row that it had not read");
    const staged = document as StagedTree | undefined;
    if (key.table === "snapshot") this.documents.replace(key.runtimeId, sequence, slot.row?.root, staged);
    const runtimeId = "runtimeId" in key && isHashedId(key.runtimeId) ? key.runtimeId : undefined;
    // Member by member: this is the hottest place of all, and a spread is many times slower.
    slot.row = row && {
      sequence: row.sequence,
      checksum: row.checksum,
      value: row.value,
      root: staged?.root,
      runtimeId,
    };
    slot.isChanged = true;
  }
}
