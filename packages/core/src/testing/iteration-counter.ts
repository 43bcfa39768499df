/** Counts the iterations of the event loop, from its creation until `end`. */
export class IterationCounter {
  count = 0;
  private isCounting = true;

  constructor() {
    const next = (): void => {
      this.count += 1;
      if (this.isCounting) setImmediate(next);
    };
    setImmediate(next);
  }

  /** Ends the counting and returns the count. */
  end(): number {
    this.isCounting = false;
    return this.count;
  }
}
