/** How often each of many things happened. */
export class Tally {
  private readonly counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count);
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  get size(): number {
    return this.counts.size;
  }

  has(what: string): boolean {
    return this.counts.has(what);
  }

  /** The most frequent first. */
  toString(): string {
    return [...this.counts]
      .sort(([, a], [, b]) => b - a)
      .map(([what, count]) => `${what} ${count.toLocaleString("en")}`)
      .join(", ");
  }
}
