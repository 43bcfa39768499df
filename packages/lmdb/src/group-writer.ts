import { StoreError } from "@bolthole/contract";
import { Moved, type RowKey, type Unit, type Write } from "@bolthole/core";
import type { DataFileRoom } from "./data-file-room.js";
import type { DocumentTrees } from "./document-tree/document-trees.js";
import type { Chore } from "./document-tree/reclaimer.js";
import type { StagedTree } from "./document-tree/staged-tree.js";
import type { Replacement, TreeChanges } from "./document-tree/tree-changes.js";
import type { Environment } from "./environment.js";
import { SEQUENCE_KEY, encodeKey, isHashedId } from "./keys.js";
import { type Load, pagesOfTransaction, pagesOfUnit } from "./page-need.js";
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
  private failure: { readonly cause: unknown } | undefined;

  constructor(
    private readonly environment: Environment,
    private readonly room: DataFileRoom,
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

  private enqueue(work: Unit<unknown> | Chore): Promise<unknown> {
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

  private refusal(variant: "WriteFailed" | "ReadFailed"): StoreError {
    return new StoreError(variant, "SHUTTING_DOWN", "the store stopped after the disk failed", {
      cause: this.failure?.cause,
    });
  }
}

/** A row as the group sees it: as it was, or as a unit before left it. */
interface Slot {
  readonly key: Buffer;
  row: StoredRow | undefined;
  isChanged: boolean;
}

/** The units of one transaction, each decided over what those before it left. */
class Group {
  bytes = 0;
  /** The most that the transaction may take. */
  pages: number;
  /** Of the transaction with the unit that did not fit, as the pages are counted then. */
  wanted = (): number => 0;
  isWriting = false;
  private readonly slots = new Map<string, Slot>();

  constructor(
    private readonly environment: Environment,
    private readonly room: DataFileRoom,
    public sequence: number,
    readonly documents: TreeChanges,
  ) {
    this.pages = pagesOfTransaction(room.pages);
  }

  /**
   * Decides a unit or does a chore; answers how to tell its caller once the group is durable. Undefined: there is no room
   * for `wanted` pages, and nothing is changed; with `isLastWord` it is refused instead.
   */
  take({ work, resolve, reject }: Waiting, isLastWord = false): (() => void) | undefined {
    try {
      const decided = "decide" in work ? this.decide(work) : this.chore(work);
      if (decided.load) {
        const { load } = decided;
        const need = (): number => this.pages + pagesOfUnit(load, this.room.pages);
        const pages = need();
        const demand = { pages, bytes: this.bytes + work.bytes, frees: decided.frees };
        if (!this.room.admits(demand)) {
          if (isLastWord) throw this.room.refusal(demand);
          this.wanted = need;
          return undefined;
        }
        this.pages = pages;
        this.isWriting = true;
        decided.apply();
      }
      this.bytes += work.bytes;
      return () => {
        resolve(decided.answer);
      };
    } catch (error) {
      return () => {
        reject(error);
      };
    }
  }

  /** Nothing is changed yet. */
  private decide(unit: Unit<unknown>): Decided {
    const sequence = this.sequence + 1;
    const slots = unit.reads.map((key) => this.slot(encodeKey(key)));
    const { writes, answer, frees } = unit.decide(
      slots.map(({ row }) => row),
      sequence,
    );
    if (writes.length === 0) return { answer, frees, load: undefined, apply: () => undefined };
    const replacements = writes.map(({ at, document }) => this.replacement(unit.reads[at], slots[at], document));
    return {
      answer,
      frees,
      load: loadOf(writes, replacements),
      apply: () => {
        writes.forEach((write, index) => {
          this.put(write, unit.reads[write.at], slots[write.at], sequence, replacements[index]);
        });
        this.sequence = sequence;
      },
    };
  }

  private chore(work: Chore): Decided {
    const { load, frees } = work;
    const apply = (): void => {
      work.apply(this.documents);
    };
    return { answer: undefined, frees, load, apply };
  }

  /** Of a document by another. One that shares nodes with its base fits that one only. */
  private replacement(
    key: RowKey | undefined,
    slot: Slot | undefined,
    document: Write["document"],
  ): Replacement | undefined {
    if (key?.table !== "snapshot") return undefined;
    const staged = document as StagedTree | undefined;
    if (staged?.base !== undefined && staged.base !== slot?.row?.sequence) throw new Moved();
    return this.documents.plan(key.runtimeId, slot?.row?.root, staged);
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
    this.room.spend(this);
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

  private put(
    { row }: Write,
    key: RowKey | undefined,
    slot: Slot | undefined,
    sequence: number,
    replacement: Replacement | undefined,
  ): void {
    if (!key || !slot) throw new RangeError("a unit wrote a row that it had not read");
    if (replacement) this.documents.replace(sequence, replacement);
    const runtimeId = "runtimeId" in key && isHashedId(key.runtimeId) ? key.runtimeId : undefined;
    // Member by member: this is the hottest place of all, and a spread is many times slower.
    slot.row = row && {
      sequence: row.sequence,
      checksum: row.checksum,
      value: row.value,
      root: replacement?.staged?.root,
      runtimeId,
    };
    slot.isChanged = true;
  }
}

/** What a unit or a chore would do. */
interface Decided {
  readonly answer: unknown;
  readonly frees: boolean;
  /** Undefined: it writes nothing. */
  readonly load: Load | undefined;
  apply(): void;
}

/** A count of references, or one of the nodes in a garbage record. */
const NODE_BYTES = 16;

function loadOf(writes: readonly Write[], replacements: readonly (Replacement | undefined)[]): Load {
  const values = writes.map(({ row }) => row?.value.length ?? 0);
  const parts: number[] = [];
  for (const replacement of replacements) {
    if (!replacement) continue;
    const { nodes = [], extended = [] } = replacement.staged ?? {};
    for (const [, value] of [...nodes, ...extended]) parts.push(value?.length ?? 0);
    values.push(...replacement.named.map(() => NODE_BYTES));
    if (replacement.dropped.length > 0) values.push(replacement.dropped.length * NODE_BYTES);
  }
  return { values, parts, dropped: 0 };
}
