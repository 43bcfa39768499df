import type { RuntimeId } from "@bolthole/contract";
import type { Put } from "../environment.js";
import { documentKey, garbageKey } from "../keys.js";
import { type Dropped, encodeGarbage, splitDropped } from "./garbage.js";
import type { NodeIds } from "./node-ids.js";
import type { NodeSource } from "./node-reader.js";
import type { NodeEntry, NodeName } from "./node.js";
import { ReferenceCounts } from "./reference-counts.js";
import type { References, StagedTree } from "./staged-tree.js";

/** A garbage record of a transaction: what in it may still be read, and by whom. */
export interface GarbageRecord {
  readonly key: Buffer;
  readonly runtimeId: RuntimeId;
  /** Of the commit that dropped it: readers of earlier documents may know it. */
  readonly sequence: number;
  /** A whole tree may hang on it. */
  readonly isLarge: boolean;
}

/** One document in the place of another, with what follows from it for the nodes. */
export interface Replacement {
  readonly runtimeId: RuntimeId;
  readonly staged: StagedTree | undefined;
  /** Nodes that are named more often than before. */
  readonly named: readonly References[];
  /** Nodes that are named less often, or not at all. */
  readonly dropped: readonly Dropped[];
}

/** What one transaction does to the documents' trees. Everything here runs inside the writer. */
export class TreeChanges {
  readonly garbage: GarbageRecord[] = [];
  private readonly counts: ReferenceCounts;
  private readonly changed: Put[] = [];
  private storesNodes = false;

  constructor(
    /** The state before the transaction. */
    readonly source: NodeSource,
    private readonly ids: NodeIds,
  ) {
    this.counts = new ReferenceCounts(source);
  }

  put(key: Buffer, value: Buffer | undefined): void {
    this.changed.push([key, value]);
  }

  /** Stores new nodes. */
  store(nodes: readonly Put[]): void {
    for (const put of nodes) this.changed.push(put);
    this.storesNodes ||= nodes.length > 0;
  }

  /** What it takes to put a document, or none, in the place of another, which is dropped. Changes nothing. */
  plan(runtimeId: RuntimeId, before: NodeEntry | undefined, staged: StagedTree | undefined): Replacement {
    // What is named anew less what is not named any more: most of a shared tree comes to zero, and costs nothing.
    const net = new Map<number, References>();
    for (const named of staged?.references.values() ?? []) count(net, named, named.times);
    if (before) count(net, before, -1);

    const dropped: Dropped[] = [];
    // Higher branches come first: when a branch's turn comes, everything that may have named it is counted.
    for (const { id, level, children } of staged?.opened ?? []) {
      const times = net.get(id)?.times ?? 0;
      if (times >= 0 || this.counts.of(id) + times > 0) continue;
      net.delete(id);
      dropped.push({ id, level, isDead: true });
      for (const child of children) count(net, child, -1);
    }
    const named: References[] = [];
    for (const { id, level, times } of net.values()) {
      const more = isNew(id, staged) ? times - 1 : times;
      if (times > 0 && more > 0) named.push({ id, level, times: more });
      for (let left = times; left < 0; left += 1) dropped.push({ id, level, isDead: false });
    }
    return { runtimeId, staged, named, dropped };
  }

  /** Does what was planned over the same state. */
  replace(sequence: number, { runtimeId, staged, named, dropped }: Replacement): void {
    for (const { id, isDead } of dropped) if (isDead) this.counts.forget(id);
    for (const { id, times } of named) this.counts.add(id, times);
    if (staged?.isWritten) this.put(documentKey("staging", staged.ids.first), undefined);
    else this.store(staged?.nodes ?? []);
    this.store(staged?.extended ?? []);
    let index = 0;
    for (const part of splitDropped(dropped)) {
      const key = garbageKey(sequence, index++);
      this.put(key, encodeGarbage(key, { runtimeId, dropped: part }));
      const isLarge = part.some(({ level, isDead }) => level > 0 && !isDead);
      this.garbage.push({ key, runtimeId, sequence, isLarge });
    }
  }

  /** Takes one reference from a node; true when it was the last one. */
  giveBack(id: number): boolean {
    if (this.counts.of(id) <= 1) return true;
    this.counts.add(id, -1);
    return false;
  }

  puts(): Put[] {
    return [...this.changed, ...this.counts.puts(), ...(this.storesNodes ? [this.ids.put()] : [])];
  }
}

function count(net: Map<number, References>, { id, level }: NodeName, times: number): void {
  const known = net.get(id);
  if (known) known.times += times;
  else net.set(id, { id, level, times });
}

const isNew = (id: number, staged: StagedTree | undefined): boolean =>
  staged !== undefined && id >= staged.ids.first && id < staged.ids.end;
