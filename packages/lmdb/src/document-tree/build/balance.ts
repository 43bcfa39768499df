import { MAX_CHILDREN, MERGE_BELOW_BYTES, MIN_CHILDREN, type NodeEntry } from "../node.js";
import type { TreeBuilder } from "./tree-builder.js";

/*
 * A tree is built from its leaves up, level by level. At each level, the parts of that level form runs between subtrees of
 * a higher level, which stay whole. Each run becomes one or more branches, which are parts of the next level. A run that
 * is too short for a branch includes the children of a neighbouring subtree, so that every branch except the root has at
 * least MIN_CHILDREN children.
 *
 *   level 0:   leaf leaf leaf  <subtree of level 2>  leaf leaf
 *   level 1:   branch          <subtree of level 2>  branch       the short runs open the subtree beside them
 */

/** An entry of the tree that is being built. */
export interface TreeSlice extends NodeEntry {
  /** Whether the document contains this range of the base more than once. A shared slice is never rewritten. */
  readonly isShared?: boolean;
}

/** A part of the document that is being built: new bytes, which count as level 0, or a slice. */
export type TreePart = TreeSlice | Uint8Array;

/** Whether a leaf slice is merged with new bytes beside it. */
export const isMergeable = ({ length, isShared = false }: TreeSlice): boolean =>
  length < MERGE_BELOW_BYTES && !isShared;

const levelOf = (part: TreePart): number => (part instanceof Uint8Array ? 0 : part.level);

type Open = (branch: NodeEntry) => readonly NodeEntry[];

/** Returns the children of a branch, the last one first, each shared if the branch is. */
function reversedChildren(branch: TreePart, open: Open): TreeSlice[] {
  const { isShared = false } = branch as TreeSlice;
  return open(branch as TreeSlice)
    .toReversed()
    .map((child) => (isShared ? { ...child, isShared } : child));
}

/** Opens the subtrees beside new bytes down to their leaves, because those leaves may be merged with the bytes. */
export function openBesideBytes(parts: readonly TreePart[], open: Open): TreePart[] {
  const opened: TreePart[] = [];
  const ahead = parts.toReversed();
  for (let next = ahead.pop(); next; next = ahead.pop()) {
    const isBeside = opened.at(-1) instanceof Uint8Array || ahead.at(-1) instanceof Uint8Array;
    if (isBeside && levelOf(next) > 0) ahead.push(...reversedChildren(next, open));
    else opened.push(next);
  }
  return opened;
}

/** Opens the neighbours of runs of this level that are shorter than MIN_CHILDREN. */
export function joinShortRuns(parts: readonly TreePart[], level: number, open: Open): TreePart[] {
  const joined: TreePart[] = [];
  const ahead = parts.toReversed();
  /** The index in `joined` where the last run begins. */
  let start = 0;
  for (;;) {
    const next = ahead.pop();
    const count = joined.length - start;
    if (next && levelOf(next) === level) {
      joined.push(next);
    } else if (count === 0 || count >= MIN_CHILDREN) {
      if (!next) return joined;
      start = joined.push(next);
    } else if (next) {
      ahead.push(...reversedChildren(next, open));
    } else {
      // No subtree follows the last run: open the one before it, if there is one.
      const last = joined.splice(start);
      const before = joined.pop();
      if (!before) return last;
      for (const part of last.reverse()) ahead.push(part);
      ahead.push(...reversedChildren(before, open));
      start = joined.length;
    }
  }
}

/** Replaces each run of this level with what `map` returns for it. */
export async function mapRuns(
  parts: readonly TreePart[],
  level: number,
  map: (run: TreePart[]) => Promise<NodeEntry[]> | NodeEntry[],
): Promise<TreePart[]> {
  const mapped: TreePart[] = [];
  let run: TreePart[] = [];
  for (const part of parts) {
    if (levelOf(part) === level) {
      run.push(part);
      continue;
    }
    if (run.length > 0) mapped.push(...(await map(run)));
    run = [];
    mapped.push(part);
  }
  if (run.length > 0) mapped.push(...(await map(run)));
  return mapped;
}

/** Adds the fewest branches that hold the run, with an even number of children each, and returns their entries. */
export function packBranches(builder: TreeBuilder, run: readonly NodeEntry[]): NodeEntry[] {
  const count = Math.ceil(run.length / MAX_CHILDREN);
  return Array.from({ length: count }, (_branch, index) =>
    builder.addBranch(run.slice((index * run.length) / count, ((index + 1) * run.length) / count)),
  );
}
