type Close = () => Promise<void> | void;

/** What has to be undone, the last first. */
export class Closers {
  private readonly stack: Close[] = [];

  add(close: Close): void {
    this.stack.push(close);
  }

  async close(): Promise<void> {
    for (let close = this.stack.pop(); close; close = this.stack.pop()) await close();
  }
}
