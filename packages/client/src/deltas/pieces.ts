import type { DocumentPart } from "@bolthole/contract";

/** How many pieces a patch may have, and how many new bytes in all of them. */
export interface PatchLimits {
  readonly patchPieces: number;
  readonly patchInsertBytes: number;
}

/** The pieces of a new document, as they are found from its beginning to its end. */
export class Pieces {
  readonly parts: DocumentPart[] = [];
  inserted = 0;

  constructor(
    private readonly next: Buffer,
    private readonly limits: PatchLimits,
  ) {}

  copy(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.parts.at(-1);
    if (last !== undefined && !(last instanceof Uint8Array) && last.offset + last.length === offset) {
      this.parts[this.parts.length - 1] = { offset: last.offset, length: last.length + length };
    } else {
      this.parts.push({ offset, length });
    }
  }

  /** The new document's own bytes in `[start, end)`. */
  insert(start: number, end: number): void {
    if (start === end) return;
    this.parts.push(this.next.subarray(start, end));
    this.inserted += end - start;
  }

  get areTooMany(): boolean {
    return this.parts.length > this.limits.patchPieces || this.inserted > this.limits.patchInsertBytes;
  }
}
