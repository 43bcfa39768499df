import { StaleBaseError, type RowKey, type WriteBatch, type RowWrite } from "@bolthole/core";
import type { DiskReservation } from "./disk-reservation.js";
import type { MaintenanceTask } from "./document-tree/reclaim/reclaimer.js";
import type { StagedTree } from "./document-tree/build/staged-tree.js";
import type { Replacement, TreeChanges } from "./document-tree/reclaim/tree-changes.js";
import type { Environment } from "./environment.js";
import { SEQUENCE_KEY, encodeKey, isHashedId } from "./keys.js";
import { type WriteLoad, estimateBatchPages, estimateTransactionPages } from "./page-estimate.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";

/** What the writer is asked to do, and whom to tell. */
export interface Waiting {
  readonly work: WriteBatch<unknown> | MaintenanceTask;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A row as the group sees it: as it was, or as a unit before left it. */
interface Slot {
  readonly key: Buffer;
  row: StoredRow | undefined;
  isChanged: boolean;
}

/** The units of one transaction, each decided over what those before it left. */
export class Group {
  bytes = 0;
  /** The most that the transaction may take. */
  pages: number;
  /** Of the transaction with the unit that did not fit, as the pages are counted then. */
  wanted = (): number => 0;
  isWriting = false;
  private readonly slots = new Map<string, Slot>();

  constructor(
    private readonly environment: Environment,
    private readonly room: DiskReservation,
    public sequence: number,
    readonly documents: TreeChanges,
  ) {
    this.pages = estimateTransactionPages(room.pages);
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
        const need = (): number => this.pages + estimateBatchPages(load, this.room.pages);
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
  private decide(unit: WriteBatch<unknown>): Decided {
    const sequence = this.sequence + 1;
    const slots = unit.reads.map((key) => this.slot(encodeKey(key)));
    const {
      writes,
      result: answer,
      freesSpace: frees,
    } = unit.decide(
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

  private chore(work: MaintenanceTask): Decided {
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
    document: RowWrite["document"],
  ): Replacement | undefined {
    if (key?.table !== "snapshot") return undefined;
    const staged = document as StagedTree | undefined;
    if (staged?.base !== undefined && staged.base !== slot?.row?.sequence) throw new StaleBaseError();
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
    { row }: RowWrite,
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
  readonly load: WriteLoad | undefined;
  apply(): void;
}

/** A count of references, or one of the nodes in a garbage record. */
const NODE_BYTES = 16;

function loadOf(writes: readonly RowWrite[], replacements: readonly (Replacement | undefined)[]): WriteLoad {
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
