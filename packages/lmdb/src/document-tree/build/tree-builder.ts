import { crc32 } from "node:zlib";
import type { NodeReader } from "../read/node-reader.js";
import {
  APPEND_LEAF_BYTES,
  LEAF_BYTES,
  MERGE_BELOW_BYTES,
  type NodeEntry,
  entryOf,
  filledPages,
  pagesBytes,
} from "../node.js";

/** A node that is not stored yet: the bytes of a leaf, or the children of a branch. */
export type NewNode = Uint8Array | readonly NodeEntry[];

/** A branch of the base document whose children were read. */
export interface OpenedBranch {
  readonly level: number;
  readonly id: number;
  readonly children: readonly NodeEntry[];
}

/**
 * Collects the new nodes of one document. New nodes have negative ids until the document is staged: the first is -1, the
 * second -2, and so on.
 */
export class TreeBuilder {
  readonly newNodes: NewNode[] = [];
  /** Leaves of the base to which bytes are appended, with all their bytes. */
  readonly extended = new Map<number, Uint8Array>();
  private readonly openedById = new Map<number, OpenedBranch>();

  /** `nodes` reads the base document. */
  constructor(readonly nodes: NodeReader) {}

  get opened(): Iterable<OpenedBranch> {
    return this.openedById.values();
  }

  /** Returns the children of a branch of the base, and records that the branch was opened. */
  open(branch: NodeEntry): readonly NodeEntry[] {
    let opened = this.openedById.get(branch.id);
    if (!opened) {
      opened = { level: branch.level, id: branch.id, children: this.nodes.children(branch) };
      this.openedById.set(branch.id, opened);
    }
    return opened.children;
  }

  addLeaf(bytes: Uint8Array): NodeEntry {
    return { level: 0, id: -this.newNodes.push(bytes), offset: 0, length: bytes.length, crc32: crc32(bytes) };
  }

  /**
   * Stores a range that is likely to stay in the document. It is appended to the leaf that `target` references as far as
   * that leaf has space; the rest becomes a new leaf, to which later ranges can be appended.
   */
  append(target: NodeEntry | undefined, bytes: Uint8Array): NodeEntry[] {
    const value = target && this.appendableValue(target);
    const space = Math.max(0, APPEND_LEAF_BYTES - (value?.length ?? 0));
    if (!target || !value || space === 0) return [this.addLeaf(bytes)];
    const added = bytes.subarray(0, space);
    const longer = Buffer.concat([value, added]);
    if (target.id < 0) this.newNodes[-target.id - 1] = longer;
    else this.extended.set(target.id, longer);
    const entry = { level: 0, id: target.id, offset: value.length, length: added.length, crc32: crc32(added) };
    return added.length === bytes.length ? [entry] : [entry, this.addLeaf(bytes.subarray(space))];
  }

  addBranch(children: readonly NodeEntry[]): NodeEntry {
    return entryOf(-this.newNodes.push(children), children);
  }

  /** Returns all bytes of a leaf, or undefined when its entry already shows that the leaf is full. */
  private appendableValue({ id, offset, length }: NodeEntry): Uint8Array | undefined {
    if (id < 0) return this.newNodes[-id - 1] as Uint8Array;
    return this.extended.get(id) ?? (offset + length < APPEND_LEAF_BYTES ? this.nodes.leafValue(id) : undefined);
  }
}

/**
 * Returns the length of the next leaf. Full leaves come first. A small rest becomes one leaf, because the next change
 * beside it rewrites it anyway; a larger rest fills whole pages, and a small leaf follows.
 */
function leafLength(rest: number): number {
  if (rest <= MERGE_BELOW_BYTES) return rest;
  return Math.min(LEAF_BYTES, pagesBytes(filledPages(rest)));
}

/** Yields the bytes as leaves. Bytes are copied only where one leaf contains bytes of several buffers. */
export function* cutLeaves(buffers: readonly Uint8Array[]): Generator<Uint8Array> {
  let rest = buffers.reduce((total, { length }) => total + length, 0);
  let [buffer, at] = [0, 0];
  while (rest > 0) {
    const length = leafLength(rest);
    const parts: Uint8Array[] = [];
    for (let missing = length; missing > 0;) {
      const part = buffers[buffer]?.subarray(at, at + missing) ?? new Uint8Array();
      parts.push(part);
      missing -= part.length;
      at += part.length;
      if (at === buffers[buffer]?.length) [buffer, at] = [buffer + 1, 0];
    }
    const [only] = parts;
    yield parts.length === 1 && only ? only : Buffer.concat(parts, length);
    rest -= length;
  }
}
