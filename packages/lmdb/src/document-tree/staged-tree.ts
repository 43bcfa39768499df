import { type StagedDocument, bufferOf } from "@bolthole/core";
import type { Put } from "../environment.js";
import { documentKey } from "../keys.js";
import type { Draft, OpenedBranch } from "./draft.js";
import { type NodeEntry, type NodeName, encodeBranch } from "./node.js";
import type { NodeIds } from "./node-ids.js";

/** How often a node is named anew. */
export interface References extends NodeName {
  times: number;
}

/** New nodes, with ids from `first` to before `end`. */
export interface IdRange {
  readonly first: number;
  readonly end: number;
}

/** A document that waits for its commit. */
export interface StagedTree extends StagedDocument {
  readonly root: NodeEntry | undefined;
  /** The sequence of the snapshot row with whose tree it shares nodes; undefined: it shares none. */
  readonly base: number | undefined;
  readonly ids: IdRange;
  /** What the commit has to store of it. */
  readonly nodes: readonly Put[];
  /** Leaves of the base with more bytes: never stored before the commit, because another commit may do the same. */
  readonly extended: readonly Put[];
  /** What the new branches and the snapshot row name. */
  readonly references: ReadonlyMap<number, References>;
  /** Of the base's branches, the ones whose children the new tree may name itself; higher ones first. */
  readonly opened: readonly OpenedBranch[];
  /** Its nodes are stored already, under a staging record. */
  readonly isWritten: boolean;
}

/** Gives the new nodes their ids and their form on the disk. */
export function stagedTree(
  draft: Draft,
  draftRoot: NodeEntry | undefined,
  base: number | undefined,
  ids: NodeIds,
): StagedTree {
  const range = ids.take(draft.fresh.length);
  const root = draftRoot && numbered(draftRoot, range);
  const references = new Map<number, References>();
  let bytes = 0;
  const nodes = draft.fresh.map((node, index): Put => {
    const id = range.first + index;
    const value = node instanceof Uint8Array ? bufferOf(node) : encodeBranch(id, named(references, node, range));
    bytes += value.length;
    return [documentKey("node", id), value];
  });
  const extended = [...draft.extended].map(([id, value]): Put => [documentKey("node", id), bufferOf(value)]);
  for (const [, value] of extended) bytes += value?.length ?? 0;
  if (root) refer(references, root);
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
    opened: [...draft.opened].sort((a, b) => b.level - a.level),
    isWritten: false,
  };
}

/** The children of a branch with their final ids, and counted. */
function named(
  references: Map<number, References>,
  children: readonly NodeEntry[],
  range: IdRange,
): readonly NodeEntry[] {
  const entries: NodeEntry[] = [];
  for (const child of children) {
    const entry = numbered(child, range);
    refer(references, entry);
    entries.push(entry);
  }
  return entries;
}

const numbered = (entry: NodeEntry, { first }: IdRange): NodeEntry =>
  entry.id < 0 ? { ...entry, id: first - entry.id - 1 } : entry;

/** Counts an entry that names a node. */
function refer(references: Map<number, References>, { id, level }: NodeName): void {
  const known = references.get(id);
  if (known) known.times += 1;
  else references.set(id, { id, level, times: 1 });
}
