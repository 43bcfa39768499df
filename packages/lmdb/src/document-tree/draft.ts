import { crc32 } from "node:zlib";
import { type Entry, entryOf } from "./node.js";
import type { NodeReader } from "./node-reader.js";

/** A node that is not stored yet: the bytes of a leaf, or the children of a branch. */
export type FreshNode = Uint8Array | readonly Entry[];

/** A branch of the base that was looked into. */
export interface OpenedBranch {
  readonly level: number;
  readonly id: number;
  readonly children: readonly Entry[];
}

/** A new document's tree in the making. Its new nodes have negative ids until they are numbered: -1 is the first. */
export class Draft {
  readonly fresh: FreshNode[] = [];
  /** Bytes of new leaves. */
  freshBytes = 0;
  private readonly openedById = new Map<number, OpenedBranch>();

  constructor(readonly nodes: NodeReader) {}

  get opened(): Iterable<OpenedBranch> {
    return this.openedById.values();
  }

  /** The children of one of the base's branches. */
  open(branch: Entry): readonly Entry[] {
    let opened = this.openedById.get(branch.id);
    if (!opened) {
      opened = { level: branch.level, id: branch.id, children: this.nodes.children(branch) };
      this.openedById.set(branch.id, opened);
    }
    return opened.children;
  }

  addLeaf(bytes: Uint8Array): Entry {
    this.freshBytes += bytes.length;
    return { level: 0, id: -this.fresh.push(bytes), offset: 0, length: bytes.length, crc32: crc32(bytes) };
  }

  addBranch(children: readonly Entry[]): Entry {
    return entryOf(-this.fresh.push(children), children);
  }
}
