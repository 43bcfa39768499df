import { crc32 } from "node:zlib";
import type { ByteRange, DocumentPart } from "@bolthole/contract";
import type { Document } from "@bolthole/core";
import { type Kept, type Piece, isSmall, joinShortRuns, mapRuns, openBesideBytes, packBranches } from "./balance.js";
import { combineCrc32 } from "./crc32-combine.js";
import type { Draft } from "./draft.js";
import { cutLeaves } from "./leaf-cutter.js";
import { type Entry, SETTLED_BYTES, SHORT_BYTES } from "./node.js";
import { RepeatedStretches } from "./repeated-stretches.js";
import { Turns } from "./turns.js";

/** A slice that is taken more than once is shared from this size on: below, its entries would cost as much as its bytes. */
const SHARED_BYTES = 1024;

/**
 * Drafts the tree of a document. Of the base, whole subtrees are taken over as they are: only what lies at the edges of
 * stretches is read, and small neighbours, which become one. Answers the root, or nothing for the empty document.
 */
export async function splice(draft: Draft, base: Entry | undefined, document: Document): Promise<Entry | undefined> {
  const turns = new Turns();
  const open = (branch: Entry): readonly Entry[] => draft.open(branch);
  let pieces = openBesideBytes(await piecesOf(draft, base, document, turns), open);
  pieces = await mapRuns(pieces, 0, (run) => settle(draft, run, turns));
  for (let level = 0; pieces.length > 1; level += 1) {
    pieces = joinShortRuns(pieces, level, open);
    // All pieces are entries now.
    pieces = await mapRuns(pieces, level, (run) => packBranches(draft, run as Entry[]));
  }
  return pieces[0] as Entry | undefined;
}

/** The new bytes, and what of the base's tree makes up the stretches. */
async function piecesOf(draft: Draft, base: Entry | undefined, document: Document, turns: Turns): Promise<Piece[]> {
  const repeated = new RepeatedStretches(document);
  const pieces: Piece[] = [];
  const settled = new Map<string, Entry[]>();
  for (const part of joinRanges(document)) {
    if (part instanceof Uint8Array) {
      pieces.push(part);
    } else {
      const end = part.offset + part.length;
      // Core has held the stretch against the stored length: a shorter tree is damaged.
      if (!base || end > base.length) throw draft.nodes.damaged();
      // A root may have fewer children than other branches must: it never becomes one of them.
      cut(base.level > 0 ? draft.open(base) : [base], 0, part.offset, end);
      // Both edges may lie in a leaf that is read.
      await turns.spend(2 * SETTLED_BYTES);
    }
  }
  return pieces;

  /** Adds what lies between two places of the base, of entries that begin at a third. */
  function cut(entries: readonly Entry[], begin: number, start: number, end: number): void {
    let at = begin;
    for (const entry of entries) {
      const [from, to] = [Math.max(start, at), Math.min(end, at + entry.length)];
      if (from < to) {
        const isShared = repeated.meet(from, to);
        if (to - from === entry.length) pieces.push(isShared ? { ...entry, isShared } : entry);
        else if (entry.level > 0) cut(draft.open(entry), at, from, to);
        else pieces.push(...slices(entry, at, from, to));
      }
      at += entry.length;
    }
  }

  /** Parts of a leaf that begins at a place. */
  function slices(leaf: Entry, at: number, from: number, to: number): Piece[] {
    const bytes = draft.nodes.bytes(leaf);
    return [...repeated.cut(from, to)].flatMap(({ start, end, isShared }): Piece[] => {
      const part = bytes.subarray(start - at, end - at);
      // A small one is written anew, so that it does not keep a large leaf, unless it is needed at another place too.
      if (part.length < (isShared ? SHARED_BYTES : SETTLED_BYTES)) return [Buffer.from(part)];
      const offset = leaf.offset + start - at;
      if (!isShared || part.length >= SETTLED_BYTES || repeated.isTakenWhole(at, at + leaf.length)) {
        return [{ ...leaf, offset, length: part.length, crc32: crc32(part), isShared }];
      }
      return settledOnce(`${String(leaf.id)} ${String(offset)} ${String(part.length)}`, part);
    });
  }

  /** Bytes that are shared from now on, and that nothing else of their leaf is: behind what is shared before them. */
  function settledOnce(name: string, bytes: Uint8Array): Kept[] {
    const before = pieces.at(-1);
    const isHost = before && !(before instanceof Uint8Array) && before.level === 0 && before.isShared;
    const entries = settled.get(name) ?? draft.append(isHost ? before : undefined, bytes);
    settled.set(name, entries);
    return entries.map((entry) => ({ ...entry, isShared: true }));
  }
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

/**
 * Writes new bytes as leaves. While they are few, a small leaf beside them becomes one with them; all other leaves stay
 * what they are.
 */
async function settle(draft: Draft, run: readonly Piece[], turns: Turns): Promise<Kept[]> {
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
      await write(piece);
      add(piece);
    }
  }
  await write(undefined);
  return leaves;

  async function write(after: Kept | undefined): Promise<void> {
    // Between what is shared the next change is not to be expected; elsewhere it writes a small leaf anew.
    const stays = leaves.at(-1)?.isShared && after?.isShared && looseBytes <= SHORT_BYTES;
    if (loose.length > 0 && stays) {
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
