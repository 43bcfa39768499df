import type { RuntimeId } from "@bolthole/contract";
import type { Put } from "../../environment.js";
import type { IdCounter } from "../../counter.js";
import { documentKey, garbageKey } from "../../keys.js";
import type { ReferenceTimes, StagedTree } from "../build/staged-tree.js";
import type { NodeEntry, NodeReference } from "../node.js";
import type { NodeSource } from "../read/node-reader.js";
import { type DroppedNode, decodeCount, encodeCount, encodeGarbage, splitDropped } from "./reclaim-records.js";

/** A garbage record that a transaction writes. */
export interface GarbageRecord {
  readonly key: Buffer;
  readonly runtimeId: RuntimeId;
  /** The sequence of the commit that dropped the nodes. Readers of earlier documents may still need them. */
  readonly sequence: number;
  /** Whether a whole subtree may become free. */
  readonly isLarge: boolean;
}

/** The replacement of one document by another, with what follows from it for the nodes. */
export interface Replacement {
  readonly runtimeId: RuntimeId;
  /** The new document. Undefined when the document is deleted. */
  readonly staged: StagedTree | undefined;
  /** Nodes that get more references than before. */
  readonly named: readonly ReferenceTimes[];
  /** Nodes that lose references. */
  readonly dropped: readonly DroppedNode[];
}

/** The changes of one transaction to the documents' trees. Used only inside the writer. */
export class TreeChanges {
  /** The garbage records that the transaction writes. */
  readonly garbage: GarbageRecord[] = [];
  private readonly counts: ReferenceCounts;
  private readonly changed: Put[] = [];
  private storesNodes = false;
  /** The commit that `replace` was called for last, and the number of its garbage records. */
  private lastSequence: number | undefined;
  private records = 0;

  constructor(
    /** The state before the transaction. */
    readonly source: NodeSource,
    private readonly ids: IdCounter,
  ) {
    this.counts = new ReferenceCounts(source);
  }

  put(key: Buffer, value: Buffer | undefined): void {
    this.changed.push([key, value]);
  }

  /** Adds new nodes. */
  store(nodes: readonly Put[]): void {
    for (const put of nodes) this.changed.push(put);
    this.storesNodes ||= nodes.length > 0;
  }

  /** Works out the replacement of the document with the root `before` by the staged one. Changes nothing. */
  plan(runtimeId: RuntimeId, before: NodeEntry | undefined, staged: StagedTree | undefined): Replacement {
    // New references minus dropped ones. For most nodes of a shared tree this is zero, so their counts are not needed.
    const net = new Map<number, ReferenceTimes>();
    for (const reference of staged?.references.values() ?? []) count(net, reference, reference.times);
    if (before) count(net, before, -1);

    const dropped: DroppedNode[] = [];
    // Higher branches come first, so that everything that may reference a branch is counted before the branch itself.
    for (const { id, level, children } of staged?.opened ?? []) {
      const times = net.get(id)?.times ?? 0;
      if (times >= 0 || this.counts.of(id) + times > 0) continue;
      net.delete(id);
      dropped.push({ id, level, isDead: true });
      for (const child of children) count(net, child, -1);
    }
    const named: ReferenceTimes[] = [];
    for (const { id, level, times } of net.values()) {
      // The first reference to a new node needs no count.
      const more = isNew(id, staged) ? times - 1 : times;
      if (times > 0 && more > 0) named.push({ id, level, times: more });
      for (let left = times; left < 0; left += 1) dropped.push({ id, level, isDead: false });
    }
    // All counts that `replace` changes are read here: a count that cannot be read must refuse the batch before any change.
    for (const { id } of named) this.counts.of(id);
    return { runtimeId, staged, named, dropped };
  }

  /** Applies a replacement that was planned over the same state. Reads nothing, so that it cannot fail halfway. */
  replace(sequence: number, { runtimeId, staged, named, dropped }: Replacement): void {
    for (const { id, isDead } of dropped) if (isDead) this.counts.forget(id);
    for (const { id, times } of named) this.counts.add(id, times);
    if (staged?.isWritten) this.put(documentKey("staging", staged.ids.first), undefined);
    else this.store(staged?.nodes ?? []);
    this.store(staged?.extended ?? []);
    // One commit may replace both documents of a runtime.
    if (this.lastSequence !== sequence) this.records = 0;
    this.lastSequence = sequence;
    for (const part of splitDropped(dropped)) {
      const key = garbageKey(sequence, this.records++);
      this.put(key, encodeGarbage(key, { runtimeId, dropped: part }));
      const isLarge = part.some(({ level, isDead }) => level > 0 && !isDead);
      this.garbage.push({ key, runtimeId, sequence, isLarge });
    }
  }

  /** Gives back one reference to a node. Returns true when it was the last one. */
  giveBack(id: number): boolean {
    if (this.counts.of(id) <= 1) return true;
    this.counts.add(id, -1);
    return false;
  }

  /** Returns the writes of the transaction. */
  puts(): Put[] {
    return [...this.changed, ...this.counts.puts(), ...(this.storesNodes ? [this.ids.put()] : [])];
  }
}

function count(net: Map<number, ReferenceTimes>, { id, level }: NodeReference, times: number): void {
  const known = net.get(id);
  if (known) known.times += times;
  else net.set(id, { id, level, times });
}

const isNew = (id: number, staged: StagedTree | undefined): boolean =>
  staged !== undefined && id >= staged.ids.first && id < staged.ids.end;

/**
 * The reference counts as one transaction changes them. A node is referenced by branches (each entry counts), by a
 * row, and by garbage records that have not given their reference back yet. A count is stored only while it is
 * two or more, so a tree that shares nothing has no counts.
 */
class ReferenceCounts {
  private readonly changed = new Map<number, number>();
  private readonly stored = new Map<number, number>();

  constructor(private readonly source: NodeSource) {}

  of(id: number): number {
    const known = this.changed.get(id) ?? this.stored.get(id);
    if (known !== undefined) return known;
    const key = documentKey("count", id);
    const value = this.source.get(key);
    const count = value ? decodeCount(key, value) : 1;
    this.stored.set(id, count);
    return count;
  }

  add(id: number, times: number): void {
    const count = this.of(id);
    if (times !== 0 && Number.isFinite(count)) this.changed.set(id, count + times);
  }

  /** Removes the count of a node that is deleted. */
  forget(id: number): void {
    if (this.of(id) > 1) this.changed.set(id, 0);
  }

  puts(): Put[] {
    return [...this.changed].map(([id, count]) => {
      const key = documentKey("count", id);
      return [key, count > 1 ? encodeCount(key, count) : undefined];
    });
  }
}
