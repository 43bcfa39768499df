import { crc32 } from "node:zlib";
import type { ByteRange, DocumentPart } from "@bolthole/contract";
import type { Document } from "@bolthole/core";
import { type Piece, joinShortRuns, mapRuns, packBranches } from "./balance.js";
import type { Draft } from "./draft.js";
import { cutLeaves } from "./leaf-cutter.js";
import { type Entry, SETTLED_BYTES } from "./node.js";
import { Turns } from "./turns.js";

/**
 * Drafts the tree of a document. Of the base, whole subtrees are taken over as they are: only what lies at the edges of
 * stretches is read, and small neighbours, which become one. Answers the root, or nothing for the empty document.
 */
export async function splice(draft: Draft, base: Entry | undefined, document: Document): Promise<Entry | undefined> {
  const turns = new Turns();
  let pieces = await piecesOf(draft, base, document, turns);
  for (let level = 0; ; level += 1) {
    pieces = joinShortRuns(pieces, level, (branch) => draft.open(branch));
    if (level === 0) pieces = await mapRuns(pieces, 0, (run) => settle(draft, run, turns));
    const [only] = pieces;
    if (pieces.length <= 1 && !(only instanceof Uint8Array)) return only;
    // From here on all pieces are entries.
    pieces = await mapRuns(pieces, level, (run) => packBranches(draft, run as Entry[]));
  }
}

/** The new bytes, and what of the base's tree makes up the stretches. */
async function piecesOf(draft: Draft, base: Entry | undefined, document: Document, turns: Turns): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for (const part of joinRanges(document)) {
    if (part instanceof Uint8Array) {
      pieces.push(part);
    } else {
      // Core has held the stretch against the stored length: a shorter tree is damaged.
      if (!base || part.offset + part.length > base.length) throw draft.nodes.damaged();
      // A root may have fewer children than other branches must: it never becomes one of them.
      const whole = base.level > 0 ? draft.open(base) : [base];
      cut(draft, whole, part.offset, part.offset + part.length, pieces);
      // Both edges may lie in a leaf that is read.
      await turns.spend(2 * SETTLED_BYTES);
    }
  }
  return pieces;
}

/** Without empty parts, and stretches that go on where the last one ended as one. */
function* joinRanges(document: Document): Generator<DocumentPart> {
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

/** Adds a stretch of what entries name to the pieces. */
function cut(draft: Draft, entries: readonly Entry[], start: number, end: number, pieces: Piece[]): void {
  let at = 0;
  for (const entry of entries) {
    const [from, to] = [Math.max(start - at, 0), Math.min(end - at, entry.length)];
    at += entry.length;
    if (from >= to) continue;
    if (to - from === entry.length) pieces.push(entry);
    else if (entry.level > 0) cut(draft, draft.open(entry), from, to, pieces);
    else pieces.push(slice(entry, draft.nodes.bytes(entry), from, to));
  }
}

/** A small slice is written anew, so that it does not keep a large leaf. */
function slice(leaf: Entry, bytes: Buffer, start: number, end: number): Piece {
  const kept = bytes.subarray(start, end);
  if (kept.length < SETTLED_BYTES) return Buffer.from(kept);
  return { ...leaf, offset: leaf.offset + start, length: kept.length, crc32: crc32(kept) };
}

/** Writes new bytes and small leaves beside each other as leaves of good size; a small leaf alone stays what it is. */
async function settle(draft: Draft, run: readonly Piece[], turns: Turns): Promise<Entry[]> {
  const leaves: Entry[] = [];
  let loose: Piece[] = [];
  for (const piece of run) {
    if (piece instanceof Uint8Array || piece.length < SETTLED_BYTES) {
      loose.push(piece);
    } else {
      await write();
      leaves.push(piece);
    }
  }
  await write();
  return leaves;

  async function write(): Promise<void> {
    const [only] = loose;
    if (loose.length === 1 && only && !(only instanceof Uint8Array)) {
      leaves.push(only);
    } else {
      for (const bytes of cutLeaves(loose.map((one) => (one instanceof Uint8Array ? one : draft.nodes.bytes(one))))) {
        leaves.push(draft.addLeaf(bytes));
        await turns.spend(bytes.length);
      }
    }
    loose = [];
  }
}
