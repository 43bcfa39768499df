import type { StoreError } from "@bolthole/contract";
import { StaleBaseError } from "../engine.js";

/*
 * The order and the repetition of changes that are prepared outside the writer, over the state that is stored at that time.
 */

/** Runs the tasks of one key one after the other, in the order of arrival. Tasks of other keys do not wait. */
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

const ATTEMPTS = 8;

/** Repeats an attempt while it throws `StaleBaseError`. Throws the error that `busy` returns after 8 attempts. */
export async function repeatWhileStale<T>(attempt: () => Promise<T>, busy: () => StoreError): Promise<T> {
  for (let count = 0; count < ATTEMPTS; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof StaleBaseError)) throw error;
    }
  }
  throw busy();
}
