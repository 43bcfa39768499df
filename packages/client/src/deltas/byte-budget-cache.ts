import { LRUCache } from "lru-cache";

/**
 * A cache with a budget in bytes. When the budget is used up, the least recently used entry is dropped. Its keys are texts:
 * runtime ids or request ids.
 */
export class ByteBudgetCache<Value extends object> {
  private readonly entries: LRUCache<string, Value>;

  constructor(
    readonly maxBytes: number,
    /** The largest number of entries. Default: no limit. */
    maxEntries?: number,
  ) {
    // In the library, 0 means "no limit".
    const maxSize = Math.max(1, maxBytes);
    this.entries = new LRUCache(maxEntries === undefined ? { maxSize } : { maxSize, max: maxEntries });
  }

  /** Returns the value of a key, and marks it as used. */
  get(key: string): Value | undefined {
    return this.entries.get(key);
  }

  /** Returns the value of a key without marking it as used. */
  peek(key: string): Value | undefined {
    return this.entries.peek(key);
  }

  /**
   * Replaces the value of a key. A value that is larger than the budget is not kept, and neither is the old one. `value`
   * must be a new object when its size has changed: the library does not measure an object again that it already has.
   */
  set(key: string, value: Value, bytes: number): void {
    if (bytes > this.maxBytes) this.delete(key);
    else this.entries.set(key, value, { size: Math.max(1, bytes) });
  }

  delete(key: string): void {
    this.entries.delete(key);
  }
}
