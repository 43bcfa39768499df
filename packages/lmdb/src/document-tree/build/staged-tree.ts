import { type StagedDocument, bufferOf } from "@bolthole/core";
import type { Put } from "../../environment.js";
import { UnusableFolderError } from "../../format.js";
import { NODE_ID_KEY, documentKey } from "../../keys.js";
import { type IdRange, type NodeEntry, type NodeReference, encodeBranch } from "../node.js";
import type { NodeSource } from "../read/node-reader.js";
import type { OpenedBranch, TreeBuilder } from "./tree-builder.js";

/** A number of references to one node, or a change of that number. */
export interface ReferenceTimes extends NodeReference {
  times: number;
}

/** A document tree that waits for its commit. */
export interface StagedTree extends StagedDocument {
  readonly root: NodeEntry | undefined;
  /** The sequence of the snapshot row whose tree it shares nodes with. Undefined when it shares none. */
  readonly base: number | undefined;
  /** The ids of its new nodes. */
  readonly ids: IdRange;
  /** The new nodes that the commit has to store. */
  readonly nodes: readonly Put[];
  /** Leaves of the base with more bytes. Only the commit stores them, because another commit may extend them too. */
  readonly extended: readonly Put[];
  /** The references that the new branches and the snapshot row add, by node id. */
  readonly references: ReadonlyMap<number, ReferenceTimes>;
  /** The branches of the base whose children the new tree may reference itself, higher levels first. */
  readonly opened: readonly OpenedBranch[];
  /** Whether its new nodes are stored already, under a staging record. */
  readonly isWritten: boolean;
}

/** Numbers the new nodes of a document and encodes them. */
export function stageTree(
  builder: TreeBuilder,
  newRoot: NodeEntry | undefined,
  base: number | undefined,
  ids: NodeIds,
): StagedTree {
  const range = ids.take(builder.newNodes.length);
  const root = newRoot && numbered(newRoot, range);
  const references = new Map<number, ReferenceTimes>();
  let bytes = 0;
  const nodes = builder.newNodes.map((node, index): Put => {
    const id = range.first + index;
    const value =
      node instanceof Uint8Array ? bufferOf(node) : encodeBranch(id, numberChildren(references, node, range));
    bytes += value.length;
    return [documentKey("node", id), value];
  });
  const extended = [...builder.extended].map(([id, value]): Put => [documentKey("node", id), bufferOf(value)]);
  for (const [, value] of extended) bytes += value?.length ?? 0;
  if (root) countReference(references, root);
  return {
    length: root?.length ?? 0,
    crc32: root?.crc32 ?? 0,
    bytes,
    root,
    base,
    ids: range,
    nodes,
    extended,
    references,
    opened: [...builder.opened].sort((a, b) => b.level - a.level),
    isWritten: false,
  };
}

/** Returns the children of a branch with their final ids, and counts the references to them. */
function numberChildren(
  references: Map<number, ReferenceTimes>,
  children: readonly NodeEntry[],
  range: IdRange,
): readonly NodeEntry[] {
  const entries: NodeEntry[] = [];
  for (const child of children) {
    const entry = numbered(child, range);
    countReference(references, entry);
    entries.push(entry);
  }
  return entries;
}

const numbered = (entry: NodeEntry, { first }: IdRange): NodeEntry =>
  entry.id < 0 ? { ...entry, id: first - entry.id - 1 } : entry;

function countReference(references: Map<number, ReferenceTimes>, { id, level }: NodeReference): void {
  const known = references.get(id);
  if (known) known.times += 1;
  else references.set(id, { id, level, times: 1 });
}

const COUNTER_BYTES = 8;

/**
 * The counter of node ids. Every transaction that stores a node stores the counter too, so no id that was ever on the disk
 * is used again. Ids that were taken in memory and lost in a crash were never on the disk.
 */
export class NodeIds {
  private constructor(private next: number) {}

  /** Reads the counter. Throws an UnusableFolderError when it is damaged: ids would be used a second time. */
  static load(source: NodeSource): NodeIds {
    const stored = source.get(NODE_ID_KEY);
    if (!stored) return new NodeIds(1);
    const next = stored.length === COUNTER_BYTES ? stored.readDoubleLE() : Number.NaN;
    if (!Number.isSafeInteger(next) || next < 0) {
      throw new UnusableFolderError(
        `the counter of node ids is damaged: expected ${COUNTER_BYTES} bytes with a whole number, ` +
          `found ${stored.toString("hex")}; keep a copy of the folder, check the disk, and restore a backup`,
      );
    }
    return new NodeIds(next);
  }

  take(count: number): IdRange {
    const first = this.next;
    this.next += count;
    return { first, end: this.next };
  }

  /** Returns the write that stores the counter. */
  put(): Put {
    const value = Buffer.allocUnsafe(COUNTER_BYTES);
    value.writeDoubleLE(this.next);
    return [NODE_ID_KEY, value];
  }
}
