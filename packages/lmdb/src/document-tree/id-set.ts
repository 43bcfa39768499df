const BLOCK_BITS = 1 << 15;

/** A set of node ids: those that are stored lie close together, so that a bit is enough for most of them. */
export class IdSet {
  private readonly blocks = new Map<number, Uint8Array>();

  has(id: number): boolean {
    const byte = this.blocks.get(Math.floor(id / BLOCK_BITS))?.[(id % BLOCK_BITS) >> 3] ?? 0;
    return (byte & (1 << (id & 7))) !== 0;
  }

  /** False when it was there already. */
  add(id: number): boolean {
    if (this.has(id)) return false;
    const number = Math.floor(id / BLOCK_BITS);
    const block = this.blocks.get(number) ?? new Uint8Array(BLOCK_BITS / 8);
    const at = (id % BLOCK_BITS) >> 3;
    block[at] = (block[at] ?? 0) | (1 << (id & 7));
    this.blocks.set(number, block);
    return true;
  }
}
