/** The keys that were written since they were taken last. */
export class ChangedKeys {
  private keys = new Map<string, Buffer>();

  constructor(readonly end: () => void) {}

  get size(): number {
    return this.keys.size;
  }

  add(key: Buffer): void {
    this.keys.set(key.toString("latin1"), key);
  }

  /** Returns the keys, and forgets them. */
  take(): Buffer[] {
    const { keys } = this;
    this.keys = new Map();
    return [...keys.values()];
  }
}
