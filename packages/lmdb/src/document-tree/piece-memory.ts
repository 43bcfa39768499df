/**
 * Memory for the pieces of a document that is read from its beginning to its end: that of the last but one is used again. Fresh
 * memory costs several times what it costs to copy a piece into it.
 */
export class PieceMemory {
  private last: Buffer | undefined;
  private lastButOne: Buffer | undefined;

  take(bytes: number): Buffer {
    const before = this.lastButOne;
    const memory = before && before.length >= bytes ? before : Buffer.allocUnsafeSlow(bytes);
    this.lastButOne = this.last;
    this.last = memory;
    return memory.subarray(0, bytes);
  }
}
