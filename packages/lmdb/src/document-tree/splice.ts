import type { ByteRange, DocumentPart } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";
import { type Kept, type Piece, isSmall, joinShortRuns, mapRuns, openBesideBytes, packBranches } from "./balance.js";
import { combineCrc32 } from "./crc32-combine.js";
import type { Draft } from "./draft.js";
import { cutLeaves } from "./leaf-cutter.js";
import { type NodeEntry, SETTLED_BYTES, SHORT_BYTES } from "./node.js";
import { RepeatedStretches } from "./repeated-stretches.js";
import { TakenPieces } from "./taken-pieces.js";
import { YieldBudget } from "./yield-budget";

/**
 * Drafts the tree of a document. Of the base, whole subtrees are taken over as they are: only what lies at the edges of
 * stretches is read, and small neighbours, which become one. Answers the root, or nothing for the empty document.
 */
export async function splice(
  draft: Draft,
  base: NodeEntry | undefined,
  document: DocumentParts,
): Promise<NodeEntry | undefined> {
  const turns = new YieldBudget();
  const open = (branch: NodeEntry): readonly NodeEntry[] => draft.open(branch);
  let pieces = openBesideBytes(await piecesOf(draft, base, document, turns), open);
  pieces = await mapRuns(pieces, 0, (run) => settle(draft, run, turns));
  for (let level = 0; pieces.length > 1; level += 1) {
    pieces = joinShortRuns(pieces, level, open);
    // All pieces are entries now.
    pieces = await mapRuns(pieces, level, (run) => packBranches(draft, run as NodeEntry[]));
  }
  return pieces[0] as NodeEntry | undefined;
}

/** The new bytes, and what of the base's tree makes up the stretches. */
async function piecesOf(
  draft: Draft,
  base: NodeEntry | undefined,
  document: DocumentParts,
  turns: YieldBudget,
): Promise<Piece[]> {
  const taken = new TakenPieces(draft, new RepeatedStretches(document));
  for (const part of joinRanges(document)) {
    if (part instanceof Uint8Array) {
      taken.pieces.push(part);
    } else {
      // Core has held the stretch against the stored length: a shorter tree is damaged.
      if (!base || part.offset + part.length > base.length) throw draft.nodes.damaged();
      taken.take(base, part);
      // Both edges may lie in a leaf that is read.
      await turns.spend(2 * SETTLED_BYTES);
    }
  }
  return taken.pieces;
}

/** Without empty parts, and stretches that go on where the last one ended as one. */
function* joinRanges(document: DocumentParts): Generator<DocumentPart> {
  let open: ByteRange | undefined;
  for (const part of document) {
    if (part.length === 0) continue;
    if (!(part instanceof Uint8Array) && open && open.offset + open.length === part.offset) {
      open = { offset: open.offset, length: open.length + part.length };
      continue;
    }
    if (open) yield open;
    open = part instanceof Uint8Array ? undefined : part;
    if (part instanceof Uint8Array) yield part;
  }
  if (open) yield open;
}

/**
 * Writes new bytes as leaves. While they are few, a small leaf beside them becomes one with them; all other leaves stay
 * what they are.
 */
async function settle(draft: Draft, run: readonly Piece[], turns: YieldBudget): Promise<Kept[]> {
  const leaves: Kept[] = [];
  let loose: Uint8Array[] = [];
  let looseBytes = 0;
  const join = (bytes: Uint8Array): void => {
    loose.push(bytes);
    looseBytes += bytes.length;
  };
  for (const piece of run) {
    if (piece instanceof Uint8Array) {
      const before = loose.length === 0 ? leaves.at(-1) : undefined;
      if (before && isSmall(before) && piece.length < SETTLED_BYTES) join(draft.nodes.bytes(leaves.pop() as Kept));
      join(piece);
    } else if (loose.length > 0 && looseBytes < SETTLED_BYTES && isSmall(piece)) {
      join(draft.nodes.bytes(piece));
    } else {
      if (loose.length > 0) await write(piece);
      add(piece);
    }
  }
  if (loose.length > 0) await write(undefined);
  return leaves;

  async function write(after: Kept | undefined): Promise<void> {
    // Between what is shared the next change is not to be expected; elsewhere it writes a small leaf anew.
    const stays = leaves.at(-1)?.isShared && after?.isShared && looseBytes <= SHORT_BYTES;
    if (stays) {
      const host = leaves.findLast(({ isShared = false, length }) => !isShared && length <= SHORT_BYTES);
      draft.append(host, Buffer.concat(loose)).forEach(add);
    } else {
      for (const bytes of cutLeaves(loose)) {
        add(draft.addLeaf(bytes));
        await turns.spend(bytes.length);
      }
    }
    [loose, looseBytes] = [[], 0];
  }

  /** Where a leaf goes on with the bytes behind, one entry names both. */
  function add(leaf: Kept): void {
    const before = leaves.at(-1);
    if (before?.id !== leaf.id || before.offset + before.length !== leaf.offset) {
      leaves.push(leaf);
      return;
    }
    const [length, crc] = [before.length + leaf.length, combineCrc32(before.crc32, leaf.crc32, leaf.length)];
    const isShared = before.isShared === true || leaf.isShared === true;
    leaves[leaves.length - 1] = { ...before, length, crc32: crc, isShared };
  }
}
