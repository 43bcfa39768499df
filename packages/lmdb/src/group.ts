import type { RuntimeId } from "@bolthole/contract";
import {
  type Apply,
  type Awaitable,
  type DecidedBatch,
  type Group,
  type GroupRow,
  type Row,
  type RowHandle,
  type RowKey,
  type RowSetKey,
  type RowSetReplacement,
  type RowWrite,
  StaleBaseError,
  type WriteBatch,
  YieldBudget,
  isDocumentRowKey,
} from "@bolthole/core";
import {
  type DiskReservation,
  type ReservationRequest,
  type WriteLoad,
  estimateBatchPages,
  estimateTransactionPages,
} from "./disk-reservation.js";
import { encodeCounter } from "./counter.js";
import type { DocumentTrees } from "./document-tree/document-trees.js";
import type { MaintenanceTask } from "./document-tree/reclaim/reclaimer.js";
import type { StagedTree } from "./document-tree/build/staged-tree.js";
import type { Replacement, TreeChanges } from "./document-tree/reclaim/tree-changes.js";
import type { Environment, Put } from "./environment.js";
import { DEFAULT_ROW_SPACE, LONGEST_KEY_BYTES, SEQUENCE_KEY, encodeKey, isHashedId, rowSpaceBounds } from "./keys.js";
import { type StoredRow, decodeRecord, encodeRecord } from "./record.js";
import type { RowSpaces, StagedSpace } from "./row-spaces/row-spaces.js";
import type { RowTask, SpaceChanges } from "./row-spaces/space-changes.js";

/**
 * A batch with more rows than this is read, planned and encoded in slices, between which the event loop runs. No other group
 * begins in the meantime, so all slices see the same state. Smaller batches, which are usual, do not yield.
 */
const UNDIVIDED_ROWS = 256;
/** A batch with more bytes of values than this is divided, too. */
const UNDIVIDED_BYTES = 1 << 20;

/** The parts of a store that all its groups use. */
export interface Writer {
  readonly environment: Environment;
  readonly reservation: DiskReservation;
  readonly trees: DocumentTrees;
  readonly spaces: RowSpaces;
  /** The commit sequence of the last durable batch. */
  sequence: number;
}

/** A row of the group: as stored, or as an earlier batch left it. */
interface Slot extends GroupRow {
  readonly key: Buffer;
  row: StoredRow | undefined;
  isChanged: boolean;
}

/** The replacement of a row set. */
interface Exchange {
  /** The new row space. Undefined when no row remains. */
  readonly space: number | undefined;
  /** The bytes of the values that are written; 0 for a deletion. */
  readonly values: readonly number[];
  apply(): void;
}

/** The pages and bytes that a batch or a maintenance task adds to the transaction. */
interface Demand {
  readonly load: WriteLoad;
  readonly bytes: number;
  /** By how much the store grows when what is replaced is deleted. Everything that is written, unless given. */
  readonly growth?: number | undefined;
  /** Whether it only deletes. */
  readonly frees: boolean;
}

/**
 * The batches of one LMDB transaction. They are collected in memory and given to LMDB as one list of puts. The disk is
 * reserved for each batch before it is applied, because LMDB cannot continue after a transaction that found the disk full.
 */
export class LmdbGroup implements Group<Slot> {
  private readonly slots = new Map<string, Slot>();
  private treeChanges: TreeChanges | undefined;
  private spaceChanges: SpaceChanges | undefined;
  private sequence: number;
  /** The most pages that the transaction can take. */
  private pages: number;
  private bytes = 0;
  private isEmpty = true;
  /** Whether a batch of the group is divided. */
  private isLong = false;
  private readonly budget = new YieldBudget();
  hasWritten = false;

  constructor(private readonly writer: Writer) {
    this.sequence = writer.sequence;
    this.pages = estimateTransactionPages(writer.reservation.pages);
  }

  get nextSequence(): number {
    return this.sequence + 1;
  }

  read({ reads: { handles }, bytes }: WriteBatch<unknown>): Awaitable<readonly Slot[]> {
    if (handles.length > UNDIVIDED_ROWS || bytes > UNDIVIDED_BYTES) return this.readInSlices(handles);
    return handles.map(({ key }) => this.slot(this.keyOf(key)));
  }

  private async readInSlices(handles: readonly RowHandle[]): Promise<readonly Slot[]> {
    this.isLong = true;
    const slots: Slot[] = [];
    for (const { key } of handles) {
      slots.push(this.slot(this.keyOf(key)));
      const wait = this.budget.spend();
      if (wait) await wait;
    }
    // The decision that follows is a long step, too.
    await this.budget.yield();
    return slots;
  }

  prepare(decided: DecidedBatch<Slot>): Awaitable<Apply | undefined> {
    const { decision, batch } = decided;
    if (decision.writes.length <= UNDIVIDED_ROWS && batch.bytes <= UNDIVIDED_BYTES) return this.plan(decided);
    return this.budget.yield().then(() => this.plan(decided));
  }

  private plan({ batch, decision, rows, sequence }: DecidedBatch<Slot>): Awaitable<Apply | undefined> {
    const { writes, replaceRows, freesSpace: frees } = decision;
    for (const { handle } of writes)
      if (!rows[handle.index]) throw new RangeError("a batch wrote a row that it had not read");
    const replacements = writes.map((write) => this.replacement(write, rows[write.handle.index]));
    const exchange = replaceRows && this.exchangeOf(replaceRows);
    const load = loadOf(writes, rows, replacements, exchange?.values);
    const growth = growthOf(writes, rows);
    return this.admit({ load, bytes: batch.bytes, growth, frees }, () => () => {
      exchange?.apply();
      writes.forEach((write, index) => {
        const slot = rows[write.handle.index];
        const moved = exchange && isOfRowSet(write.handle.key) ? this.slotIn(exchange, write.handle.key) : slot;
        this.put(write, moved, sequence, replacements[index]);
      });
      this.sequence = sequence;
    });
  }

  /**
   * Prepares a maintenance task in a group in which no document has changed yet. A task that fails, because it cannot read what
   * it deletes, then changes nothing, and is refused alone.
   */
  prepareTask(task: MaintenanceTask): Awaitable<Apply | undefined> {
    if (this.treeChanges) return undefined;
    return this.admit(task, () => {
      const changes = this.writer.trees.changes();
      task.apply(changes);
      return () => {
        this.treeChanges = changes;
      };
    });
  }

  /**
   * Prepares a task that changes row spaces.
   */
  prepareRowTask(task: RowTask): Awaitable<Apply | undefined> {
    return this.admit(task, () => task.plan(this.spaceChange()));
  }

  /** Prepares a task that changes row spaces and writes rows, which get a commit sequence of their own. */
  prepareNumberedTask(taskOf: (sequence: number) => RowTask): Awaitable<Apply | undefined> {
    const sequence = this.nextSequence;
    const task = taskOf(sequence);
    return this.admit(task, () => {
      const apply = task.plan(this.spaceChange());
      return () => {
        apply();
        this.sequence = sequence;
      };
    });
  }

  async flush(): Promise<undefined> {
    const { writer } = this;
    const puts: Put[] = [...(this.treeChanges?.puts() ?? []), ...(this.spaceChanges?.puts() ?? [])];
    const { isLong } = this;
    if (isLong) await this.budget.yield();
    for (const { key, row, isChanged } of this.slots.values()) {
      if (!isChanged) continue;
      puts.push([key, row && encodeRecord(row)]);
      const wait = isLong ? this.budget.spend() : undefined;
      if (wait) await wait;
    }
    // The deletion of a runtime without rows writes nothing, but its response has the sequence, which no other commit may get.
    if (puts.length === 0 && this.sequence === writer.sequence) return;
    // LMDB takes all puts of a transaction in one iteration of the event loop.
    if (isLong) await this.budget.yield();
    puts.push([SEQUENCE_KEY, encodeCounter(SEQUENCE_KEY, this.sequence)]);
    // LMDB would refuse one put and keep the others of the transaction.
    for (const [key] of puts) {
      if (key.length > LONGEST_KEY_BYTES)
        throw new RangeError(`a stored key of ${String(key.length)} bytes is too long`);
    }
    writer.reservation.spend({ pages: this.pages, bytes: this.bytes });
    this.hasWritten = true;
    await writer.environment.write(puts);
    writer.sequence = this.sequence;
    if (this.treeChanges) writer.trees.flushed(this.treeChanges);
    if (this.spaceChanges) writer.spaces.flushed(this.spaceChanges);
  }

  abort(): void {
    // LMDB ends a failed transaction itself.
  }

  /** Reserves pages for work, and prepares it if there is space for it. */
  private admit(demand: Demand, prepare: () => Apply): Awaitable<Apply | undefined> {
    return this.reserve(demand) ? prepare() : this.admitAfterGrowth(demand, prepare);
  }

  /** Tries to make space on the disk. Without space, the first work of a group is refused, and any other waits for the next group. */
  private async admitAfterGrowth(demand: Demand, prepare: () => Apply): Promise<Apply | undefined> {
    const { reservation } = this.writer;
    await reservation.prepare(() => this.pagesWith(demand));
    if (this.reserve(demand)) return prepare();
    if (this.isEmpty) throw reservation.refusal(this.request(demand));
    return undefined;
  }

  private reserve(demand: Demand): boolean {
    const request = this.request(demand);
    if (!this.writer.reservation.admits(request)) return false;
    this.pages = request.pages;
    this.bytes = request.bytes;
    this.isEmpty = false;
    return true;
  }

  /** Returns the demand of the whole transaction with this work in it. */
  private request(demand: Demand): ReservationRequest {
    const { bytes, growth = bytes, frees } = demand;
    // Each batch is judged by its own growth: what one frees, another of the same group cannot use yet.
    return { pages: this.pagesWith(demand), bytes: this.bytes + bytes, growth, frees };
  }

  private pagesWith({ load }: Demand): number {
    const { reservation } = this.writer;
    return this.pages + estimateBatchPages(load, reservation.pages, reservation.spentPages + this.pages);
  }

  private changes(): TreeChanges {
    return (this.treeChanges ??= this.writer.trees.changes());
  }

  private spaceChange(): SpaceChanges {
    return (this.spaceChanges ??= this.writer.spaces.changes());
  }

  /** Returns the stored key of a row, in the row space that the earlier batches of the group left. */
  private keyOf(key: RowKey): Buffer {
    const isInSpace = this.writer.spaces.isUsed && isOfRowSet(key);
    return isInSpace ? encodeKey(key, this.spaceChange().spaceOf(key.runtimeId)) : encodeKey(key);
  }

  /** Prepares the replacement of a row set: by another row space, or by the deletion of its rows when they are few. */
  private exchangeOf({ runtimeId, rows }: RowSetReplacement): Exchange {
    const staged = (rows as StagedSpace | undefined)?.space;
    const few = staged === undefined ? this.fewRows(runtimeId) : undefined;
    if (few) {
      return {
        space: undefined,
        values: few.map(() => 0),
        apply: () => {
          for (const key of few) this.deleteRow(key);
        },
      };
    }
    const recordBytes = RECORD_BYTES + Buffer.byteLength(runtimeId);
    return {
      space: staged,
      values: [recordBytes, recordBytes, recordBytes, RECORD_BYTES],
      apply: this.spaceChange().plan(runtimeId, staged),
    };
  }

  /**
   * Returns the keys of all rows of a row set, or undefined when they are too many for one transaction. Their values are not
   * read. The rows of another row space than the default one are always replaced, so that the runtime loses its pointer.
   */
  private fewRows(runtimeId: RuntimeId): Buffer[] | undefined {
    const { spaces } = this.writer;
    const space = this.spaceChange().readableSpaceOf(runtimeId);
    if (space !== DEFAULT_ROW_SPACE) return undefined;
    const stored = spaces.firstKeys(runtimeId, space, MAX_SINGLE_ROWS + 1);
    if (stored.length > MAX_SINGLE_ROWS) return undefined;
    const { start, end } = rowSpaceBounds(runtimeId, space);
    const all = new Map(stored.map((key) => [slotName(key), key]));
    for (const [name, { key }] of this.slots) {
      if (Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0) all.set(name, key);
    }
    return all.size > MAX_SINGLE_ROWS ? undefined : [...all.values()];
  }

  /**
   * Plans the replacement of a document. A document that shares nodes with its base can replace that base only. Rows that have
   * no document and get none, which are usual, need no plan.
   */
  private replacement({ handle: { key }, document }: RowWrite, slot: Slot | undefined): Replacement | undefined {
    if (!isDocumentRowKey(key) || (!document && !slot?.row?.root)) return undefined;
    const staged = document as StagedTree | undefined;
    if (staged?.base !== undefined && staged.base !== slot?.row?.sequence) throw new StaleBaseError();
    return this.changes().plan(key.runtimeId, slot?.row?.root, staged);
  }

  private slot(key: Buffer): Slot {
    const name = slotName(key);
    let slot = this.slots.get(name);
    if (!slot) {
      const record = this.writer.environment.get(key);
      slot = { key, row: record && decodeRecord(record), isChanged: false };
      this.slots.set(name, slot);
    }
    return slot;
  }

  /** Returns the slot of a row in a new row space, which does not have the row yet. */
  private slotIn({ space }: Exchange, key: RowKey): Slot {
    if (space === undefined) throw new RangeError("a batch deleted a row set and wrote a row of it");
    const stored = encodeKey(key, space);
    const slot = { key: stored, row: undefined, isChanged: true };
    this.slots.set(slotName(stored), slot);
    return slot;
  }

  private deleteRow(key: Buffer): void {
    this.slots.set(slotName(key), { key, row: undefined, isChanged: true });
  }

  private put(
    { handle: { key }, row }: RowWrite,
    slot: Slot | undefined,
    sequence: number,
    replacement: Replacement | undefined,
  ): void {
    if (!slot) return;
    if (replacement) this.changes().replace(sequence, replacement);
    const runtimeId = "runtimeId" in key && isHashedId(key.runtimeId) ? key.runtimeId : undefined;
    // Member by member: this is the hottest path, and a spread is many times slower.
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

const isOfRowSet = (key: RowKey): key is RowSetKey => key.table === "input" || key.table === "receipt";

/** Returns the name of a slot in the map of a group. */
const slotName = (key: Buffer): string => key.toString("latin1");

/** The most rows of a row set that are deleted in the commit itself. */
const MAX_SINGLE_ROWS = 256;
/** The assumed size of a record of a row space without the runtime id. */
const RECORD_BYTES = 64;
/** The bytes of a reference count, or of one node in a garbage record. */
const NODE_BYTES = 16;

/**
 * Returns by how many bytes the callers' data grows. The outcome of the request and the manifests do not count: every change writes them,
 * and outcomes are deleted again. The rows of a replaced row set were admitted when they were staged.
 */
function growthOf(writes: readonly RowWrite[], slots: readonly Slot[]): number {
  let growth = 0;
  for (const { handle, row, document } of writes) {
    const { key, index } = handle;
    if (key.table === "outcome" || key.table === "runtimeManifest" || key.table === "storeManifest") continue;
    // The value of a row with a document is a few facts about the document.
    const valueBytes = (value: Row | undefined): number => (key.table === "snapshot" ? 0 : (value?.value.length ?? 0));
    const stored = slots[index]?.row;
    growth += (document?.length ?? valueBytes(row)) - (stored?.root?.length ?? valueBytes(stored));
  }
  return growth;
}

function loadOf(
  writes: readonly RowWrite[],
  slots: readonly Slot[],
  replacements: readonly (Replacement | undefined)[],
  others: readonly number[] = [],
): WriteLoad {
  let keyBytes = others.length > 0 ? LONGEST_KEY_BYTES : NODE_BYTES;
  const values = writes.map(({ handle: { key, index }, row }) => {
    keyBytes = Math.max(keyBytes, slots[index]?.key.length ?? 0);
    if (!row) return 0;
    const hasId = "runtimeId" in key && isHashedId(key.runtimeId);
    return row.value.length + (hasId ? Buffer.byteLength(key.runtimeId) : 0);
  });
  values.push(...others);
  const parts: number[] = [];
  for (const replacement of replacements) {
    if (!replacement) continue;
    const { nodes = [], extended = [] } = replacement.staged ?? {};
    for (const [, value] of [...nodes, ...extended]) parts.push(value?.length ?? 0);
    values.push(...replacement.named.map(() => NODE_BYTES));
    if (replacement.dropped.length > 0) values.push(replacement.dropped.length * NODE_BYTES);
  }
  return { values, keyBytes, parts, dropped: 0 };
}
