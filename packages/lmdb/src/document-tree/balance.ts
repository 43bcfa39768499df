import type { Draft } from "./draft.js";
import { type Entry, LEAF_BYTES, MAX_CHILDREN, MIN_CHILDREN, SETTLED_BYTES } from "./node.js";

/*
 * A tree is built from its leaves up. At each level the pieces of that level stand in runs between subtrees that are
 * higher and stay whole; a run becomes branches, which are pieces of the next level. A run that is too short for a branch
 * takes in the children of a neighbour, so that every branch but the root has at least MIN_CHILDREN.
 */

/** A part of a document in the making: new bytes (level 0, as leaves are), or what an entry names. */
export type Piece = Entry | Uint8Array;

const levelOf = (piece: Piece): number => (piece instanceof Uint8Array ? 0 : piece.level);

/** How many children a piece is sure to become: small ones may become one with their neighbours. */
function weightOf(piece: Piece): number {
  if (piece instanceof Uint8Array) return Math.floor(piece.length / LEAF_BYTES);
  return piece.level === 0 && piece.length < SETTLED_BYTES ? 0 : 1;
}

/** Opens neighbours of runs that are too short. */
export function joinShortRuns(
  pieces: readonly Piece[],
  level: number,
  open: (branch: Entry) => readonly Entry[],
): Piece[] {
  const joined: Piece[] = [];
  const ahead = pieces.slice().reverse();
  /** Where the last run begins in `joined`, and its weight. */
  let [start, weight] = [0, 0];
  for (;;) {
    const next = ahead.pop();
    if (next && levelOf(next) === level) {
      joined.push(next);
      weight += weightOf(next);
    } else if (start === joined.length || weight >= MIN_CHILDREN) {
      if (!next) return joined;
      [start, weight] = [joined.push(next), 0];
    } else if (next) {
      ahead.push(...open(next as Entry).toReversed());
    } else {
      // No neighbour follows the last run: one may stand before it.
      const last = joined.splice(start);
      const before = joined.pop();
      if (!before) return last;
      for (const piece of last.reverse()) ahead.push(piece);
      ahead.push(...open(before as Entry).toReversed());
      [start, weight] = [joined.length, 0];
    }
  }
}

/** Replaces each run of a level. */
export async function mapRuns(
  pieces: readonly Piece[],
  level: number,
  map: (run: Piece[]) => Promise<Entry[]> | Entry[],
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
export function packBranches(draft: Draft, run: readonly Entry[]): Entry[] {
  const count = Math.ceil(run.length / MAX_CHILDREN);
  return Array.from({ length: count }, (_branch, index) =>
    draft.addBranch(run.slice((index * run.length) / count, ((index + 1) * run.length) / count)),
  );
}
