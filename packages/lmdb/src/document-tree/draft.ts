import { crc32 } from "node:zlib";
import { type Entry, HOST_BYTES, entryOf } from "./node.js";
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
  /** Leaves of the base with new bytes behind those that they have. What names the old bytes stays true. */
  readonly extended = new Map<number, Uint8Array>();
  /** Where the next short stretch goes. */
  private host: { readonly id: number; value: Uint8Array } | undefined;
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

  /**
   * One of the base's leaves that the new tree goes on naming: short stretches may be stored behind its bytes. To be called
   * before the first of them: the last leaf with room is taken, no other one is written anew.
   */
  offerHost({ id }: Entry): void {
    const value = this.nodes.leafValue(id);
    if (value.length < HOST_BYTES) this.host = { id, value };
  }

  /** A short stretch that is likely to stay: a leaf of its own would leave much of a page empty. */
  addShort(bytes: Uint8Array): Entry {
    const { host } = this;
    if (!host || host.value.length + bytes.length > HOST_BYTES) {
      const leaf = this.addLeaf(bytes);
      this.host = { id: leaf.id, value: bytes };
      return leaf;
    }
    const offset = host.value.length;
    host.value = Buffer.concat([host.value, bytes]);
    if (host.id < 0) this.fresh[-host.id - 1] = host.value;
    else this.extended.set(host.id, host.value);
    this.freshBytes += bytes.length;
    return { level: 0, id: host.id, offset, length: bytes.length, crc32: crc32(bytes) };
  }

  addBranch(children: readonly Entry[]): Entry {
    return entryOf(-this.fresh.push(children), children);
  }
}
