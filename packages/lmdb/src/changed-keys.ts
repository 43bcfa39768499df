/** The memory of a noted key beside its bytes. */
const ENTRY_BYTES = 200;

/** The keys that were written since they were taken last. */
export class ChangedKeys {
  private noted = new Map<string, Buffer>();
  private bytes = 0;

  /** `onFull` is called when the keys need more than `limitBytes` of memory. Later ones are not noted, so the copy is of no use then. */
  constructor(
    private readonly limitBytes: number,
    private readonly onFull: () => void,
    readonly end: () => void,
  ) {}

  get size(): number {
    return this.noted.size;
  }

  keys(): Iterable<Buffer> {
    return this.noted.values();
  }

  add(key: Buffer): void {
    const name = key.toString("latin1");
    if (this.bytes > this.limitBytes || this.noted.has(name)) return;
    this.noted.set(name, key);
    this.bytes += 2 * key.length + ENTRY_BYTES;
    if (this.bytes <= this.limitBytes) return;
    this.noted.clear();
    this.onFull();
  }

  /** Returns the keys, and forgets them. */
  take(): Buffer[] {
    const { noted } = this;
    this.noted = new Map();
    if (this.bytes <= this.limitBytes) this.bytes = 0;
    return [...noted.values()];
  }
}
