const SLAB_BYTES = 1024 * 1024;

/** A part of the memory of an arena, divided into blocks. */
interface Slab {
  readonly memory: ArrayBuffer;
  /** The places of the blocks that are not used, in bytes. */
  readonly free: number[];
}

/**
 * Memory in blocks of one size. Blocks that are given back are used again, and what no block uses returns to the system at once. Ordinary
 * buffers of this size would stay with the process: their memory is freed by a later garbage collection, and kept by the C library.
 */
export class BlockArena {
  private readonly slabs = new Map<ArrayBuffer, Slab>();
  /** The slabs that have free blocks. */
  private readonly open = new Set<Slab>();

  constructor(readonly blockBytes: number) {}

  /** The memory of the arena in bytes. */
  get bytes(): number {
    return this.slabs.size * SLAB_BYTES;
  }

  /** Returns a block. Its content is arbitrary. */
  take(): Buffer {
    const [slab = this.addSlab()] = this.open;
    const at = slab.free.pop() ?? 0;
    if (slab.free.length === 0) this.open.delete(slab);
    return Buffer.from(slab.memory, at, this.blockBytes);
  }

  /** Takes a block back. Nothing may read it any more. */
  giveBack(block: Buffer): void {
    const slab = this.slabs.get(block.buffer as ArrayBuffer);
    if (!slab) throw new RangeError("the block is not one of this arena");
    slab.free.push(block.byteOffset);
    this.open.add(slab);
    // The last slab stays, because the next message needs one.
    if (slab.free.length < SLAB_BYTES / this.blockBytes || this.open.size === 1) return;
    this.slabs.delete(slab.memory);
    this.open.delete(slab);
    slab.memory.resize(0);
  }

  private addSlab(): Slab {
    const memory = new ArrayBuffer(SLAB_BYTES, { maxByteLength: SLAB_BYTES });
    const free = Array.from({ length: SLAB_BYTES / this.blockBytes }, (_, index) => index * this.blockBytes);
    const slab = { memory, free };
    this.slabs.set(memory, slab);
    this.open.add(slab);
    return slab;
  }
}
