import { documentKey } from "../keys.js";
import { combineCrc32 } from "./crc32-combine.js";
import { seal, unseal, unsealed } from "./sealed.js";

/*
 * A document is a tree of nodes that keep what they have, each an LMDB value under an id of its own. A leaf (level 0) is nothing but
 * bytes, and may get more behind those it has; a branch of level n names nodes of level n - 1. What names a node says how long it is and its CRC-32, so that a
 * tree can be cut and joined without reading what lies below. All leaves are equally deep.
 *
 * A branch on the disk: its level (1), then its entries; sealed.
 * An entry: id (6), offset (2), length (6), CRC-32 (4); little-endian.
 */

/** Names a stretch of a document: a leaf or a part of one, or a branch with everything below it. */
export interface NodeEntry {
  readonly level: number;
  readonly id: number;
  /** Where the stretch begins in a leaf; 0 for branches. */
  readonly offset: number;
  /** Never 0. */
  readonly length: number;
  /** Of the stretch. */
  readonly crc32: number;
}

/** Which node an entry names. */
export type NodeName = Pick<NodeEntry, "level" | "id">;

const PAGE_BYTES = 4096;
/** LMDB keeps a large value in whole pages behind this header: these sizes fill them to the last byte. */
export const PAGE_HEADER_BYTES = 24;
export const pagesBytes = (pages: number): number => pages * PAGE_BYTES - PAGE_HEADER_BYTES;
/** How many pages a value of this size fills. */
export const filledPages = (bytes: number): number => Math.floor((bytes + PAGE_HEADER_BYTES) / PAGE_BYTES);

/** The most that a leaf holds. */
export const LEAF_BYTES = pagesBytes(8);
/** Stretches of at least this size are left as they are; shorter neighbours are written anew as one. */
export const SETTLED_BYTES = pagesBytes(2);
/** New stretches of at most this size that are likely to stay share a leaf with others. */
export const SHORT_BYTES = pagesBytes(1);
/** The most that such a leaf holds: each change that adds to it writes it anew. */
export const HOST_BYTES = pagesBytes(2);
/** A turn rewrites a branch of each level, and counts its entries when it is shared: neither must be large. */
export const MAX_CHILDREN = 64;
export const MIN_CHILDREN = 16;

export const ENTRY_BYTES = 18;

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

/** The children of a branch, or nothing when it is damaged. */
export function decodeBranch({ id, level }: NodeName, value: Buffer): NodeEntry[] | undefined {
  const body = unseal(documentKey("node", id), value);
  if (body?.[0] !== level || body.length % ENTRY_BYTES !== 1) return undefined;
  const children: NodeEntry[] = [];
  for (let at = 1; at < body.length; at += ENTRY_BYTES) children.push(readEntry(level - 1, body, at));
  return children;
}

/** The entry of a branch that has these children. */
export function entryOf(id: number, children: readonly NodeEntry[]): NodeEntry {
  let [length, crc32] = [0, 0];
  for (const child of children) {
    length += child.length;
    crc32 = combineCrc32(crc32, child.crc32, child.length);
  }
  return { level: (children[0]?.level ?? 0) + 1, id, offset: 0, length, crc32 };
}
