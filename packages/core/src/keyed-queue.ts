/** Lets the tasks of one key pass one after the other, in the order of arrival; other keys do not wait. */
export class KeyedQueue {
  private readonly tails = new Map<string, Promise<void>>();

  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.tails.get(key);
    let finish = (): void => undefined;
    const tail = new Promise<void>((resolve) => {
      finish = resolve;
    });
    this.tails.set(key, tail);
    try {
      await before;
      return await task();
    } finally {
      finish();
      if (this.tails.get(key) === tail) this.tails.delete(key);
    }
  }
}
