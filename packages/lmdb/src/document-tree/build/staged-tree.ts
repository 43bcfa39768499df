import { type StagedDocument, bufferOf } from "@bolthole/core";
import type { Put } from "../../environment.js";
import type { IdCounter } from "../../counter.js";
import { documentKey } from "../../keys.js";
import { type IdRange, type NodeEntry, type NodeReference, encodeBranch } from "../node.js";
import type { OpenedBranch, TreeBuilder } from "./tree-builder.js";

/** A number of references to one node, or a change of that number. */
export interface ReferenceTimes extends NodeReference {
  times: number;
}

/** A document tree that waits for its commit. */
export interface StagedTree extends StagedDocument {
  readonly root: NodeEntry | undefined;
  /** The sequence of the row whose tree it shares nodes with. Undefined when it shares none. */
  readonly base: number | undefined;
  /** The ids of its new nodes. */
  readonly ids: IdRange;
  /** The new nodes that the commit has to store. */
  readonly nodes: readonly Put[];
  /** Leaves of the base with more bytes. Only the commit stores them, because another commit may extend them too. */
  readonly extended: readonly Put[];
  /** The references that the new branches and the row add, by node id. */
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
  ids: IdCounter,
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
