import { StoreError } from "@bolthole/contract";
import type { RowKey, Unit, Write } from "@bolthole/core";
import type { DataFileRoom } from "./data-file-room.js";
import type { Environment, Put } from "./environment.js";
import { SEQUENCE_KEY, encodeKey, isHashedId, pieceKey } from "./keys.js";
import { pagesOfTransaction, pagesOfUnit } from "./page-need.js";
import { cutPieces } from "./pieces.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";

/** A group stops growing at about this many bytes of values; one unit alone may be larger. */
const GROUP_BYTES = 1 << 20;

interface Waiting {
  readonly unit: Unit<unknown>;
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
    private readonly onFailure: ((cause: unknown) => void) | undefined,
  ) {}

  commit<T>(unit: Unit<T>): Promise<T> {
    if (this.failure) return Promise.reject(this.refusal("WriteFailed"));
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ unit, resolve: resolve as (answer: unknown) => void, reject });
      this.running ??= this.run();
    });
  }

  /** Nobody reads what the environment shows after a failed write: it may say what is not on the disk. */
  refuseReadsAfterFailure(): void {
    if (this.failure) throw this.refusal("ReadFailed");
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

  private async run(): Promise<void> {
    // Everything that arrived in this turn of the event loop goes into one group.
    await new Promise(setImmediate);
    while (this.queue.length > 0) await this.runGroup();
    this.running = undefined;
  }

  private async runGroup(): Promise<void> {
    const group = new Group(this.environment, this.room, this.sequence);
    const settlements: (() => void)[] = [];
    const taken: Waiting[] = [];
    try {
      for (let waiting = this.queue[0]; waiting; waiting = this.queue[0]) {
        if (taken.length > 0 && group.bytes + waiting.unit.bytes > GROUP_BYTES) break;
        const settle = group.take(waiting) ?? (await this.takeFirst(group, waiting));
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
    for (const settle of settlements) settle();
  }

  /** Makes room for a unit that does not fit, or refuses it. In a group that already writes it has to wait instead. */
  private async takeFirst(group: Group, waiting: Waiting): Promise<(() => void) | undefined> {
    if (group.isWriting) return undefined;
    await this.room.prepare(group.wanted);
    return group.take(waiting, true);
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
  private readonly pieces: Put[] = [];

  constructor(
    private readonly environment: Environment,
    private readonly room: DataFileRoom,
    public sequence: number,
  ) {
    this.pages = pagesOfTransaction(room.pages);
  }

  /**
   * Decides a unit; answers how to tell its caller once the group is durable. Undefined: there is no room for `wanted`
   * pages, and the unit is untouched; with `isLastWord` it is refused instead.
   */
  take({ unit, resolve, reject }: Waiting, isLastWord = false): (() => void) | undefined {
    const sequence = this.sequence + 1;
    try {
      const slots = unit.reads.map((key) => this.slot(encodeKey(key)));
      const { writes, answer, frees } = unit.decide(
        slots.map(({ row }) => row),
        sequence,
      );
      if (writes.length > 0) {
        const pages = this.pages + this.pagesOf(writes, slots);
        const refusal = this.room.refusal({ pages, bytes: this.bytes + unit.bytes, frees });
        if (refusal && !isLastWord) {
          this.wanted = () => this.pages + this.pagesOf(writes, slots);
          return undefined;
        }
        if (refusal) throw refusal;
        this.pages = pages;
        this.isWriting = true;
      }
      for (const write of writes) this.put(write, unit.reads[write.at], slots[write.at]);
      if (writes.length > 0) this.sequence = sequence;
      this.bytes += unit.bytes;
      return () => {
        resolve(answer);
      };
    } catch (error) {
      return () => {
        reject(error);
      };
    }
  }

  async flush(): Promise<void> {
    const puts = this.pieces;
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

  private pagesOf(writes: readonly Write[], slots: readonly Slot[]): number {
    const values = writes.map(({ row }) => row?.value.length ?? 0);
    const parts = writes.flatMap(({ document = [] }) => document.map(({ length }) => length));
    const dropped = writes.reduce((total, { at }) => total + (slots[at]?.row?.pieces ?? 0), 0);
    return pagesOfUnit({ values, parts, dropped }, this.room.pages);
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

  private put({ row, document }: Write, key: RowKey | undefined, slot: Slot | undefined): void {
    if (!key || !slot) throw new RangeError("a unit wrote a row that it had not read");
    for (let index = 0; index < (slot.row?.pieces ?? 0); index += 1) {
      this.pieces.push([pieceKey(slot.row?.sequence ?? 0, index), undefined]);
    }
    const pieces = document ? cutPieces(document) : [];
    pieces.forEach((piece, index) => this.pieces.push([pieceKey(row?.sequence ?? 0, index), piece]));
    const runtimeId = "runtimeId" in key && isHashedId(key.runtimeId) ? key.runtimeId : undefined;
    // Member by member: this is the hottest place of all, and a spread is many times slower.
    slot.row = row && {
      sequence: row.sequence,
      checksum: row.checksum,
      value: row.value,
      pieces: pieces.length,
      runtimeId,
    };
    slot.isChanged = true;
  }
}
