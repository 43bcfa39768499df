import { crc32 } from "node:zlib";
import { type NodeEntry, HOST_BYTES, entryOf } from "./node.js";
import type { NodeReader } from "./node-reader.js";

/** A node that is not stored yet: the bytes of a leaf, or the children of a branch. */
export type FreshNode = Uint8Array | readonly NodeEntry[];

/** A branch of the base that was looked into. */
export interface OpenedBranch {
  readonly level: number;
  readonly id: number;
  readonly children: readonly NodeEntry[];
}

/** A new document's tree in the making. Its new nodes have negative ids until they are numbered: -1 is the first. */
export class Draft {
  readonly fresh: FreshNode[] = [];
  /** Bytes of new leaves. */
  freshBytes = 0;
  /** Leaves of the base with new bytes behind those that they have. What names the old bytes stays true. */
  readonly extended = new Map<number, Uint8Array>();
  private readonly openedById = new Map<number, OpenedBranch>();

  constructor(readonly nodes: NodeReader) {}

  get opened(): Iterable<OpenedBranch> {
    return this.openedById.values();
  }

  /** The children of one of the base's branches. */
  open(branch: NodeEntry): readonly NodeEntry[] {
    let opened = this.openedById.get(branch.id);
    if (!opened) {
      opened = { level: branch.level, id: branch.id, children: this.nodes.children(branch) };
      this.openedById.set(branch.id, opened);
    }
    return opened.children;
  }

  addLeaf(bytes: Uint8Array): NodeEntry {
    this.freshBytes += bytes.length;
    return { level: 0, id: -this.fresh.push(bytes), offset: 0, length: bytes.length, crc32: crc32(bytes) };
  }

  /**
   * A stretch that is likely to stay: behind the bytes of a leaf that the new tree names, as far as that has room, and then in
   * a leaf of its own, which others will follow into.
   */
  append(host: NodeEntry | undefined, bytes: Uint8Array): NodeEntry[] {
    const value = host && this.hostValue(host);
    const room = Math.max(0, HOST_BYTES - (value?.length ?? 0));
    if (!host || !value || room === 0) return [this.addLeaf(bytes)];
    const added = bytes.subarray(0, room);
    const longer = Buffer.concat([value, added]);
    if (host.id < 0) this.fresh[-host.id - 1] = longer;
    else this.extended.set(host.id, longer);
    this.freshBytes += added.length;
    const entry = { level: 0, id: host.id, offset: value.length, length: added.length, crc32: crc32(added) };
    return added.length === bytes.length ? [entry] : [entry, this.addLeaf(bytes.subarray(room))];
  }

  addBranch(children: readonly NodeEntry[]): NodeEntry {
    return entryOf(-this.fresh.push(children), children);
  }

  /** All bytes of a leaf, unless it is seen to be full. */
  private hostValue({ id, offset, length }: NodeEntry): Uint8Array | undefined {
    if (id < 0) return this.fresh[-id - 1] as Uint8Array;
    return this.extended.get(id) ?? (offset + length < HOST_BYTES ? this.nodes.leafValue(id) : undefined);
  }
}
