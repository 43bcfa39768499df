import type { Put } from "./environment.js";
import { UnusableFolderError } from "./format.js";

const COUNTER_BYTES = 8;

/**
 * A counter of ids that are stored. Every transaction that stores a new id stores the counter too, so no id that was ever on
 * the disk is used again. Ids that were taken in memory and lost in a crash were never on the disk.
 */
export class IdCounter {
  private constructor(
    private readonly key: Buffer,
    private next: number,
  ) {}

  /**
   * Reads the counter of the ids that `name` describes. Throws an UnusableFolderError when it is damaged, because ids would be
   * used a second time.
   */
  static load(source: { get(key: Buffer): Buffer | undefined }, key: Buffer, name: string): IdCounter {
    const stored = source.get(key);
    if (!stored) return new IdCounter(key, 1);
    const next = stored.length === COUNTER_BYTES ? stored.readDoubleLE() : Number.NaN;
    if (!Number.isSafeInteger(next) || next < 0) {
      throw new UnusableFolderError(
        `the counter of ${name} is damaged: expected ${COUNTER_BYTES} bytes with a whole number, ` +
          `found ${stored.toString("hex")}; keep a copy of the folder, check the disk, and restore a backup`,
      );
    }
    return new IdCounter(key, next);
  }

  take(count: number): { readonly first: number; readonly end: number } {
    const first = this.next;
    this.next += count;
    return { first, end: this.next };
  }

  /** Returns the write that stores the counter. */
  put(): Put {
    const value = Buffer.allocUnsafe(COUNTER_BYTES);
    value.writeDoubleLE(this.next);
    return [this.key, value];
  }
}
