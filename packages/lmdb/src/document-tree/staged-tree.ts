import type { StagedDocument } from "@bolthole/core";
import type { Put } from "../environment.js";
import { documentKey } from "../keys.js";
import type { Draft, OpenedBranch } from "./draft.js";
import { type Entry, type NodeName, encodeBranch } from "./node.js";
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
  readonly root: Entry | undefined;
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
  draftRoot: Entry | undefined,
  base: number | undefined,
  ids: NodeIds,
): StagedTree {
  const range = ids.take(draft.fresh.length);
  const numbered = (entry: Entry): Entry => (entry.id < 0 ? { ...entry, id: range.first - entry.id - 1 } : entry);
  const root = draftRoot && numbered(draftRoot);
  const references = new Map<number, References>();
  let bytes = 0;
  const nodes = draft.fresh.map((node, index): Put => {
    const id = range.first + index;
    const value = node instanceof Uint8Array ? asBuffer(node) : encodeBranch(id, refer(references, node.map(numbered)));
    bytes += value.length;
    return [documentKey("node", id), value];
  });
  const extended = [...draft.extended].map(([id, value]): Put => [documentKey("node", id), asBuffer(value)]);
  for (const [, value] of extended) bytes += value?.length ?? 0;
  if (root) refer(references, [root]);
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

/** Counts entries that name nodes, and answers them. */
function refer(references: Map<number, References>, entries: readonly Entry[]): readonly Entry[] {
  for (const { id, level } of entries) {
    const known = references.get(id);
    if (known) known.times += 1;
    else references.set(id, { id, level, times: 1 });
  }
  return entries;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
