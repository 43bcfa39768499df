import { StoreError } from "@bolthole/contract";
import type { RowKey, StagedDocument, Unit, Write } from "@bolthole/core";
import type { Environment, Put } from "./environment.js";
import { SEQUENCE_KEY, encodeKey, isHashedId, pieceKey } from "./keys.js";
import { cutPieces } from "./pieces.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";

/** A group stops growing at about this many bytes of values; one unit alone may be larger. */
const GROUP_BYTES = 1 << 20;

export interface WholeDocument extends StagedDocument {
  readonly bytes: Buffer;
}

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
  private failure: unknown;

  constructor(
    private readonly environment: Environment,
    /** Of the last commit. */
    public sequence: number,
    private readonly onFailure: ((cause: unknown) => void) | undefined,
  ) {}

  commit<T>(unit: Unit<T>): Promise<T> {
    if (this.failure !== undefined) return Promise.reject(stopped(this.failure));
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ unit, resolve: resolve as (answer: unknown) => void, reject });
      this.running ??= this.run();
    });
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
    const group = new Group(this.environment, this.sequence);
    const settlements: (() => void)[] = [];
    const taken: Waiting[] = [];
    for (let waiting = this.queue[0]; waiting; waiting = this.queue[0]) {
      if (taken.length > 0 && group.bytes + waiting.unit.bytes > GROUP_BYTES) break;
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
  private readonly pieces: Put[] = [];

  constructor(
    private readonly environment: Environment,
    public sequence: number,
  ) {}

  /** Decides a unit; answers how to tell its caller once the group is durable. */
  take({ unit, resolve, reject }: Waiting): () => void {
    const sequence = this.sequence + 1;
    try {
      const slots = unit.reads.map((key) => this.slot(encodeKey(key)));
      const { writes, answer } = unit.decide(
        slots.map(({ row }) => row),
        sequence,
      );
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

  private put({ row, document }: Write, key: RowKey | undefined, slot: Slot | undefined): void {
    if (!key || !slot) throw new RangeError("a unit wrote a row that it had not read");
    for (let index = 0; index < (slot.row?.pieces ?? 0); index += 1) {
      this.pieces.push([pieceKey(slot.row?.sequence ?? 0, index), undefined]);
    }
    const pieces = document ? cutPieces((document as WholeDocument).bytes) : [];
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
