import { type RuntimeId, StoreError } from "@bolthole/contract";
import { ROW_SPACE_RECORD } from "@bolthole/core";
import type { Put } from "../environment.js";
import type { IdCounter } from "../counter.js";
import { DEFAULT_ROW_SPACE, pointerKey, spaceGarbageKey, spaceStagingKey } from "../keys.js";
import type { WriteLoad } from "../disk-reservation.js";
import { encodeOwner, encodePointer } from "./space-records.js";

/** Work on the row spaces, which the writer does in one transaction together with the waiting batches. */
export interface RowTask {
  /** The approximate number of bytes of the values that it writes. */
  readonly bytes: number;
  readonly load: WriteLoad;
  /** By how much the store grows when what is replaced is deleted. Everything that is written, unless given. */
  readonly growth?: number | undefined;
  /** Whether it only deletes. */
  readonly frees: boolean;
  /**
   * Reads what the work needs, and returns the function that makes the changes. Changes nothing itself, so that a task that
   * cannot read its records is refused alone. The returned function reads nothing.
   */
  plan(changes: SpaceChanges): () => void;
}

/** The parts of a store that the changes of one transaction use. */
export interface SpaceSource {
  /** Returns a value as it was before the transaction. */
  get(key: Buffer): Buffer | undefined;
  /** Returns the row space of a runtime as it was before the transaction. Throws DAMAGED_RECORD. */
  spaceOf(runtimeId: RuntimeId): number;
  /** Whether a row space has no rows. */
  isEmpty(runtimeId: RuntimeId, space: number): boolean;
  /** Called before the first pointer is stored. */
  usePointers(): void;
  readonly ids: IdCounter;
}

/** The changes of one transaction to the row spaces. Used only inside the writer. */
export class SpaceChanges {
  /** The keys of the garbage records that the transaction writes. */
  readonly garbage: Buffer[] = [];
  /** The row spaces of the runtimes that the transaction has looked up, with its own changes. */
  private readonly spaces = new Map<RuntimeId, number>();
  /** The garbage records that the transaction deletes, because their row spaces are empty. */
  private readonly finished = new Set<string>();
  private readonly changed: Put[] = [];
  private takesIds = false;

  constructor(readonly source: SpaceSource) {}

  /** Returns the row space of a runtime. Throws DAMAGED_RECORD. */
  spaceOf(runtimeId: RuntimeId): number {
    let space = this.spaces.get(runtimeId);
    if (space === undefined) {
      space = this.source.spaceOf(runtimeId);
      this.spaces.set(runtimeId, space);
    }
    return space;
  }

  /** Returns the row space of a runtime, or undefined when its pointer is damaged. A row set can be replaced even then. */
  readableSpaceOf(runtimeId: RuntimeId): number | undefined {
    try {
      return this.spaceOf(runtimeId);
    } catch (error) {
      if (error instanceof StoreError && error.subject.record === ROW_SPACE_RECORD) return undefined;
      throw error;
    }
  }

  put(key: Buffer, value: Buffer | undefined): void {
    this.changed.push([key, value]);
  }

  /** Deletes a staging or garbage record whose row space is empty. */
  finish(key: Buffer): void {
    this.put(key, undefined);
    this.finished.add(key.toString("latin1"));
  }

  /** Writes the staging record of a new row space. */
  beginStaging(runtimeId: RuntimeId, space: number): void {
    const key = spaceStagingKey(space);
    this.put(key, encodeOwner(key, runtimeId));
    this.takesIds = true;
  }

  /**
   * Plans that a staged row space becomes the one of the runtime, or an empty one. The rows of the present one become garbage.
   * Changes nothing. The returned function makes the changes, and reads nothing that may be damaged.
   */
  plan(runtimeId: RuntimeId, staged: number | undefined): () => void {
    const before = this.readableSpaceOf(runtimeId);
    const usesDefault = staged === undefined && this.isDefaultUsable(runtimeId, before);
    return () => {
      if (staged !== undefined) this.put(spaceStagingKey(staged), undefined);
      if (before !== undefined) {
        const key = spaceGarbageKey(runtimeId, before);
        this.put(key, encodeOwner(key, runtimeId));
        this.garbage.push(key);
      }
      this.point(runtimeId, staged ?? (usesDefault ? DEFAULT_ROW_SPACE : this.newSpace()));
    };
  }

  /**
   * Plans that the pointer of a runtime is removed if its row space is empty. Call it when its default row space is empty, too.
   * Returns undefined when the transaction may have written rows to the row space: try again in the next one.
   */
  planRemoval(runtimeId: RuntimeId): (() => void) | undefined {
    if (this.spaces.has(runtimeId)) return undefined;
    const space = this.readableSpaceOf(runtimeId);
    const isUseless = space !== undefined && space !== DEFAULT_ROW_SPACE && this.source.isEmpty(runtimeId, space);
    return () => {
      if (isUseless) this.point(runtimeId, DEFAULT_ROW_SPACE);
    };
  }

  /** Returns the writes of the transaction. */
  puts(): Put[] {
    return this.takesIds ? [...this.changed, this.source.ids.put()] : this.changed;
  }

  private point(runtimeId: RuntimeId, space: number): void {
    const key = pointerKey(runtimeId);
    this.source.usePointers();
    this.put(key, space === DEFAULT_ROW_SPACE ? undefined : encodePointer(key, { space, runtimeId }));
    this.spaces.set(runtimeId, space);
  }

  /** Whether the default row space has no rows and can be used again. */
  private isDefaultUsable(runtimeId: RuntimeId, before: number | undefined): boolean {
    const garbage = spaceGarbageKey(runtimeId, DEFAULT_ROW_SPACE);
    const wasGarbage = this.source.get(garbage) !== undefined && !this.finished.has(garbage.toString("latin1"));
    return (
      before !== DEFAULT_ROW_SPACE &&
      !wasGarbage &&
      !this.garbage.some((key) => key.equals(garbage)) &&
      this.source.isEmpty(runtimeId, DEFAULT_ROW_SPACE)
    );
  }

  private newSpace(): number {
    this.takesIds = true;
    return this.source.ids.take(1).first;
  }
}
