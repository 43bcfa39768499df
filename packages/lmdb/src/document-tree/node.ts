import { documentKey } from "../keys.js";
import { combineCrc32, seal, unseal, unsealed } from "./checksum.js";

/*
 * A session document is stored as a tree of nodes. Each node is one LMDB value under an id that is never used again.
 *
 *   level 2                  [ entry  entry ]                       the row holds the entry of the root
 *                             /            \
 *   level 1      [ entry entry entry ]    [ entry entry entry ]     branches
 *                   |     |     |            |     |     |
 *   level 0       bytes bytes bytes        bytes bytes bytes        leaves
 *
 * A leaf contains only bytes. A branch of level n lists nodes of level n - 1; all leaves have the same depth. A branch
 * never changes. A leaf changes in one way only: bytes are appended after those that it has, so every entry that
 * references the earlier bytes stays valid.
 *
 * An entry contains the length and the CRC-32 of the range that it references. So trees are cut and joined without
 * reading the nodes below, and one node can be referenced from several places and by successive documents.
 *
 *   branch:  level (1)  entry (18) ...  checksum (4, see `seal`)
 *   entry:   id (6)  offset (2)  length (6)  CRC-32 (4)
 *
 * Numbers are little-endian.
 */

/** A reference to a range of a document: a leaf, a part of a leaf, or a branch with everything below it. */
export interface NodeEntry {
  /** The level of the node: 0 for a leaf. */
  readonly level: number;
  readonly id: number;
  /** The start of the range inside the leaf. 0 for branches. */
  readonly offset: number;
  /** The length of the range in bytes. Never 0. */
  readonly length: number;
  /** The CRC-32 of the range. */
  readonly crc32: number;
}

/** The node that an entry references, without the range. */
export type NodeReference = Pick<NodeEntry, "level" | "id">;

/** The ids of nodes that were numbered together: from `first` up to, but not including, `end`. */
export interface IdRange {
  readonly first: number;
  readonly end: number;
}

const PAGE_BYTES = 4096;
/** The header in front of a large LMDB value. A value of `pagesBytes(n)` fills n pages to the last byte. */
export const PAGE_HEADER_BYTES = 24;
export const pagesBytes = (pages: number): number => pages * PAGE_BYTES - PAGE_HEADER_BYTES;
/** Returns how many whole pages a value of this size fills. */
export const filledPages = (bytes: number): number => Math.floor((bytes + PAGE_HEADER_BYTES) / PAGE_BYTES);

/** The most bytes of a leaf. */
export const LEAF_BYTES = pagesBytes(8);
/** Leaf ranges below this size are merged with their neighbours when new bytes arrive beside them. */
export const MERGE_BELOW_BYTES = pagesBytes(2);
/** New ranges up to this size that are likely to stay are appended to a leaf that exists already. */
export const MAX_APPENDED_BYTES = pagesBytes(1);
/** The most bytes of a leaf that ranges are appended to. It is small because each append writes the whole leaf. */
export const APPEND_LEAF_BYTES = pagesBytes(2);
/** Every commit rewrites one branch of each level and may count its entries, so branches stay small. */
export const MAX_CHILDREN = 64;
export const MIN_CHILDREN = 16;

export const ENTRY_BYTES = 18;

/** Writes an entry without its level: the branch or row that contains the entry stores the level. */
export function writeEntry(entry: NodeEntry, bytes: Buffer, at: number): void {
  bytes.writeUIntLE(entry.id, at, 6);
  bytes.writeUInt16LE(entry.offset, at + 6);
  bytes.writeUIntLE(entry.length, at + 8, 6);
  bytes.writeUInt32LE(entry.crc32, at + 14);
}

export const readEntry = (level: number, bytes: Buffer, at: number): NodeEntry => ({
  level,
  id: bytes.readUIntLE(at, 6),
  offset: bytes.readUInt16LE(at + 6),
  length: bytes.readUIntLE(at + 8, 6),
  crc32: bytes.readUInt32LE(at + 14),
});

/** Returns the stored form of the branch with this id. */
export function encodeBranch(id: number, children: readonly NodeEntry[]): Buffer {
  const value = unsealed(1 + children.length * ENTRY_BYTES);
  value[0] = (children[0]?.level ?? 0) + 1;
  let at = 1;
  for (const child of children) {
    writeEntry(child, value, at);
    at += ENTRY_BYTES;
  }
  return seal(documentKey("node", id), value);
}

/**
 * Returns the children of a branch, or undefined when the value is damaged, has another level than the entry that
 * references it, or is not a whole number of entries.
 */
export function decodeBranch({ id, level }: NodeReference, value: Buffer): NodeEntry[] | undefined {
  const body = unseal(documentKey("node", id), value);
  if (body?.[0] !== level || body.length % ENTRY_BYTES !== 1) return undefined;
  const children: NodeEntry[] = [];
  for (let at = 1; at < body.length; at += ENTRY_BYTES) children.push(readEntry(level - 1, body, at));
  return children;
}

/** Returns the entry that references a branch with these children. */
export function entryOf(id: number, children: readonly NodeEntry[]): NodeEntry {
  let [length, crc32] = [0, 0];
  for (const child of children) {
    length += child.length;
    crc32 = combineCrc32(crc32, child.crc32, child.length);
  }
  return { level: (children[0]?.level ?? 0) + 1, id, offset: 0, length, crc32 };
}
