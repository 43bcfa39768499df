import type { Draft } from "./draft.js";
import { type NodeEntry, MAX_CHILDREN, MIN_CHILDREN, SETTLED_BYTES } from "./node.js";

/*
 * A tree is built from its leaves up. At each level the pieces of that level stand in runs between subtrees that are
 * higher and stay whole; a run becomes branches, which are pieces of the next level. A run that is too short for a branch
 * takes in the children of a neighbour, so that every branch but the root has at least MIN_CHILDREN.
 */

/** What is taken over from the base. */
export interface Kept extends NodeEntry {
  /** The document takes it, or a part of it, more than once: writing it anew would store its bytes again and again. */
  readonly isShared?: boolean;
}

/** A part of a document in the making: new bytes (level 0, as leaves are), or what an entry names. */
export type Piece = Kept | Uint8Array;

/** Whether a leaf is to become one with its neighbours. */
export const isSmall = ({ length, isShared = false }: Kept): boolean => length < SETTLED_BYTES && !isShared;

const levelOf = (piece: Piece): number => (piece instanceof Uint8Array ? 0 : piece.level);

type Open = (branch: NodeEntry) => readonly NodeEntry[];

/** The last one first. */
function childrenOf(branch: Piece, open: Open): Kept[] {
  const { isShared = false } = branch as Kept;
  return open(branch as Kept)
    .toReversed()
    .map((child) => (isShared ? { ...child, isShared } : child));
}

/** Opens what lies beside new bytes down to its leaves, which may become one with them. */
export function openBesideBytes(pieces: readonly Piece[], open: Open): Piece[] {
  const opened: Piece[] = [];
  const ahead = pieces.toReversed();
  for (let next = ahead.pop(); next; next = ahead.pop()) {
    const isBeside = opened.at(-1) instanceof Uint8Array || ahead.at(-1) instanceof Uint8Array;
    if (isBeside && levelOf(next) > 0) ahead.push(...childrenOf(next, open));
    else opened.push(next);
  }
  return opened;
}

/** Opens neighbours of runs that are too short. */
export function joinShortRuns(pieces: readonly Piece[], level: number, open: Open): Piece[] {
  const joined: Piece[] = [];
  const ahead = pieces.toReversed();
  /** Where the last run begins in `joined`. */
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
      ahead.push(...childrenOf(next, open));
    } else {
      // No neighbour follows the last run: one may stand before it.
      const last = joined.splice(start);
      const before = joined.pop();
      if (!before) return last;
      for (const piece of last.reverse()) ahead.push(piece);
      ahead.push(...childrenOf(before, open));
      start = joined.length;
    }
  }
}

/** Replaces each run of a level. */
export async function mapRuns(
  pieces: readonly Piece[],
  level: number,
  map: (run: Piece[]) => Promise<NodeEntry[]> | NodeEntry[],
): Promise<Piece[]> {
  const mapped: Piece[] = [];
  let run: Piece[] = [];
  for (const piece of pieces) {
    if (levelOf(piece) === level) {
      run.push(piece);
      continue;
    }
    if (run.length > 0) mapped.push(...(await map(run)));
    run = [];
    mapped.push(piece);
  }
  if (run.length > 0) mapped.push(...(await map(run)));
  return mapped;
}

/** As few branches as hold the run, of even size. */
export function packBranches(draft: Draft, run: readonly NodeEntry[]): NodeEntry[] {
  const count = Math.ceil(run.length / MAX_CHILDREN);
  return Array.from({ length: count }, (_branch, index) =>
    draft.addBranch(run.slice((index * run.length) / count, ((index + 1) * run.length) / count)),
  );
}
