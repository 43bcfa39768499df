import type { ByteRange } from "@bolthole/contract";
import { allocatePages } from "@bolthole/contract/wire";
import type { NodeEntry } from "../node.js";
import type { NodeReader } from "./node-reader.js";

/** Reads a document, or a range of one, from its beginning to its end. Only the nodes on the way are read. */
export class Walk {
  /** The entries that are not passed yet, the next one last. */
  private readonly ahead: NodeEntry[];
  /** The number of bytes at the start of the next entry that are not part of the result. */
  private skip: number;
  /** The number of bytes that are still to be read. */
  private rest: number;

  constructor(
    private readonly nodes: NodeReader,
    root: NodeEntry | undefined,
    range?: ByteRange,
  ) {
    const length = root?.length ?? 0;
    this.ahead = root ? [root] : [];
    this.skip = Math.min(range?.offset ?? 0, length);
    this.rest = Math.min(range?.length ?? length, length - this.skip);
  }

  get isDone(): boolean {
    return this.rest === 0;
  }

  /** Returns the next bytes: at most `atMost`, and at least one until the end is reached. */
  take(atMost: number, allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow): Buffer {
    const bytes = allocate(Math.min(this.rest, atMost));
    let filled = 0;
    while (filled < bytes.length) {
      const leaf = this.nextLeaf();
      const length = Math.min(leaf.length - this.skip, bytes.length - filled);
      if (length === leaf.length) this.nodes.copy(leaf, bytes, filled);
      else bytes.set(this.nodes.bytes(leaf).subarray(this.skip, this.skip + length), filled);
      filled += length;
      this.skip += length;
      if (this.skip === leaf.length) this.pass(leaf);
    }
    this.rest -= filled;
    return bytes;
  }

  /** Returns the leaf that contains the next byte. */
  private nextLeaf(): NodeEntry {
    for (;;) {
      const next = this.ahead.at(-1);
      if (!next) throw this.nodes.damaged();
      if (this.skip >= next.length) this.pass(next);
      else if (next.level === 0) return next;
      else {
        this.ahead.pop();
        this.ahead.push(...this.nodes.children(next).toReversed());
      }
    }
  }

  private pass(entry: NodeEntry): void {
    this.ahead.pop();
    this.skip -= entry.length;
  }
}

/**
 * Memory for the chunks of a document that is read in order: a chunk reuses the memory of the last but one. New memory
 * costs several times as much as copying a chunk into it.
 */
export class ChunkMemory {
  private last: Buffer | undefined;
  private lastButOne: Buffer | undefined;

  allocate(bytes: number): Buffer {
    const before = this.lastButOne;
    const memory = before && before.length >= bytes ? before : allocatePages(bytes);
    this.lastButOne = this.last;
    this.last = memory;
    return memory.subarray(0, bytes);
  }
}
