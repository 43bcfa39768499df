import type { ByteRange } from "@bolthole/contract";
import type { NodeEntry } from "./node.js";
import type { NodeReader } from "./node-reader.js";

/** Goes over a stretch of a document from its beginning to its end, and reads only what lies on the way. */
export class Walk {
  /** What is still to come, the next one last. The first bytes of the next one may lie before the stretch. */
  private readonly ahead: NodeEntry[];
  private skip: number;
  /** Bytes of the stretch still to come. */
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

  /** The next bytes, at most this many and at least one; nothing at the end. */
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
      if (this.skip === leaf.length) this.forget(leaf);
    }
    this.rest -= filled;
    return bytes;
  }

  /** The leaf in which the next byte lies. */
  private nextLeaf(): NodeEntry {
    for (;;) {
      const next = this.ahead.at(-1);
      if (!next) throw this.nodes.damaged();
      if (this.skip >= next.length) this.forget(next);
      else if (next.level === 0) return next;
      else {
        this.ahead.pop();
        this.ahead.push(...this.nodes.children(next).toReversed());
      }
    }
  }

  private forget(passed: NodeEntry): void {
    this.ahead.pop();
    this.skip -= passed.length;
  }
}
