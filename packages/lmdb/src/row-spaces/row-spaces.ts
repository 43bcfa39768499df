import { type RuntimeId, readFailed } from "@bolthole/contract";
import { ROW_SPACE_RECORD, type RowSlice, RowSetDigest, type StagedRows } from "@bolthole/core";
import type { Environment, Put, ReadTransaction } from "../environment.js";
import { IdCounter, nextIdFacts } from "../counter.js";
import {
  DEFAULT_ROW_SPACE,
  LONGEST_KEY_BYTES,
  ROW_SPACE_ID_KEY,
  encodeKey,
  pointerKey,
  rowSpaceBounds,
  hasRowSpaceId,
  rowSpaceKindBounds,
  rowSpaceOf,
  spaceStagingKey,
} from "../keys.js";
import { encodeRecord } from "../record.js";
import { RowReclaimer } from "./row-reclaimer.js";
import { type RowTask, SpaceChanges, type SpaceSource } from "./space-changes.js";
import { decodePointer } from "./space-records.js";

/** A staged row set, as LMDB holds it: all rows in a row space of their own. */
export interface StagedSpace extends StagedRows {
  /** The id of the row space. Undefined when the row set has no rows. */
  readonly space: number | undefined;
}

/** The tasks of the writer. Each call resolves when its task is durable. */
export interface SpaceWriter {
  perform(task: RowTask): Promise<void>;
  /** Performs a task that writes rows under a commit sequence of its own. `taskOf` may be called again with another sequence. */
  performNumbered(bytes: number, taskOf: (sequence: number) => RowTask): Promise<void>;
}

/** Returns the largest row space id in a key, and 0 without one. Ids in pointers to row spaces without rows are not read. */
export function lastSpaceId(transaction: Pick<ReadTransaction, "lastKey">): number {
  const kinds = ["staging", "garbage", "row"] as const;
  return kinds.reduce((largest, kind) => {
    const { start, end } = rowSpaceKindBounds(kind);
    const last = transaction.lastKey(start, end);
    return last && hasRowSpaceId(last) ? Math.max(largest, rowSpaceOf(last)) : largest;
  }, 0);
}

/** The number of bytes that a slice of a row set is assumed to write. A transaction may contain other work as well. */
const SLICE_BYTES = 512 << 10;
/** The assumed size of a staging record and the counter. */
const RECORD_BYTES = 64;

/**
 * The row spaces of one environment: where the input rows and receipts of each runtime are. A whole row set is replaced by a
 * new row space, which is written slice by slice and then made the current one by changing one pointer. So the commit is
 * small, readers see the old rows or the new ones, and the old ones are deleted slice by slice afterwards.
 */
export class RowSpaces implements SpaceSource {
  readonly ids: IdCounter;
  private readonly reclaimer: RowReclaimer;
  private hasPointers: boolean;

  constructor(
    private readonly environment: Environment,
    private readonly writer: SpaceWriter,
  ) {
    const transaction = environment.read();
    this.ids = IdCounter.load(environment, nextIdFacts(ROW_SPACE_ID_KEY, "next row space", lastSpaceId(transaction)));
    const keysOf = (kind: "pointer" | "staging" | "garbage"): Iterable<Buffer> => {
      const { start, end } = rowSpaceKindBounds(kind);
      return transaction.keys(start, end);
    };
    const [firstPointer] = keysOf("pointer");
    this.hasPointers = firstPointer !== undefined;
    const pending = [...keysOf("staging"), ...keysOf("garbage")];
    transaction.done();
    this.reclaimer = new RowReclaimer(environment, (task) => writer.perform(task));
    this.reclaimer.add(pending);
  }

  /** Whether a runtime may have a row space of its own. Most stores never have one, and then no pointer is looked up. */
  get isUsed(): boolean {
    return this.hasPointers;
  }

  usePointers(): void {
    this.hasPointers = true;
  }

  get(key: Buffer): Buffer | undefined {
    return this.environment.get(key);
  }

  /** Returns the row space of a runtime in the state that `source` reads. Throws DAMAGED_RECORD. */
  spaceOf(runtimeId: RuntimeId, source: { get(key: Buffer): Buffer | undefined } = this.environment): number {
    if (!this.hasPointers) return DEFAULT_ROW_SPACE;
    const key = pointerKey(runtimeId);
    const value = source.get(key);
    if (!value) return DEFAULT_ROW_SPACE;
    const pointer = decodePointer(key, value);
    if (pointer) return pointer.space;
    throw readFailed("DAMAGED_RECORD", "the place of the input states and receipts is damaged", {
      runtimeId,
      record: ROW_SPACE_RECORD,
    });
  }

  isEmpty(runtimeId: RuntimeId, space: number): boolean {
    return this.firstKeys(runtimeId, space, 1).length === 0;
  }

  /** Returns up to `limit` keys of the rows in a row space, as they were before the present transaction of the writer. */
  firstKeys(runtimeId: RuntimeId, space: number, limit: number): Buffer[] {
    const { start, end } = rowSpaceBounds(runtimeId, space);
    return this.environment.firstKeys(start, end, limit);
  }

  /** Returns an empty set of changes for a new transaction of the writer. */
  changes(): SpaceChanges {
    return new SpaceChanges(this);
  }

  /** Starts the deletion of what a transaction replaced. Call it when the transaction is durable. */
  flushed({ garbage }: SpaceChanges): void {
    this.reclaimer.add(garbage);
  }

  /** Writes a row set to a new row space, one transaction for each slice. */
  async stage(runtimeId: RuntimeId, slices: AsyncIterable<RowSlice>): Promise<StagedSpace> {
    const digest = new RowSetDigest();
    let space: number | undefined;
    let sequence = 0;
    try {
      for await (const slice of slices) {
        const isFirst = space === undefined;
        space ??= this.ids.take(1).first;
        sequence = await this.write(runtimeId, space, slice, isFirst ? undefined : sequence, digest);
      }
    } catch (error) {
      this.discard({ sequence, input: digest.input, receipt: digest.receipt, space });
      throw error;
    }
    return { sequence, input: digest.input, receipt: digest.receipt, space };
  }

  /** Deletes the rows of a staged row set that will not be committed. */
  discard({ space }: StagedSpace): void {
    if (space !== undefined) this.reclaimer.add([spaceStagingKey(space)]);
  }

  /** Resolves when replaced and uncommitted row spaces are deleted, or when the writer refused. */
  reclaimed(): Promise<void> {
    return this.reclaimer.reclaimed();
  }

  close(): Promise<void> {
    return this.reclaimer.close();
  }

  /** Writes a slice with the sequence that the first one got, and returns that sequence. The first slice gets its own. */
  private async write(
    runtimeId: RuntimeId,
    space: number,
    slice: RowSlice,
    first: number | undefined,
    digest: RowSetDigest,
  ): Promise<number> {
    let written: SliceTask | undefined;
    let taken = 0;
    // Every task takes a sequence, which is simple; those of the later slices stay unused.
    await this.writer.performNumbered(SLICE_BYTES, (own) => {
      taken = first ?? own;
      written = this.sliceTask(space, slice(taken), first === undefined ? runtimeId : undefined);
      return written.task;
    });
    digest.add(written?.entries ?? []);
    return taken;
  }

  /** Returns the task that writes the rows of a slice. With `beginning`, the row space of this runtime begins with them. */
  private sliceTask(space: number, entries: ReturnType<RowSlice>, beginning?: RuntimeId): SliceTask {
    const puts = entries.map(({ key, row }): Put => [
      encodeKey(key, space),
      // A row space belongs to one runtime, so its rows do not contain the runtime id.
      encodeRecord({ ...row, root: undefined, runtimeId: undefined }),
    ]);
    const parts = puts.map(([, value]) => value?.length ?? 0);
    const task: RowTask = {
      bytes: parts.reduce((total, bytes) => total + bytes, 0),
      // The rows of a slice are side by side, as the nodes of a document are.
      load: {
        values: [RECORD_BYTES + (beginning === undefined ? 0 : Buffer.byteLength(beginning))],
        keyBytes: LONGEST_KEY_BYTES,
        parts,
        dropped: 0,
      },
      frees: false,
      plan: (changes) => () => {
        if (beginning !== undefined) changes.beginStaging(beginning, space);
        for (const [key, value] of puts) changes.put(key, value);
      },
    };
    return { task, entries };
  }
}

/** The task that writes a slice, and its rows. */
interface SliceTask {
  readonly task: RowTask;
  readonly entries: ReturnType<RowSlice>;
}
