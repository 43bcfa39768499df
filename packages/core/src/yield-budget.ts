/** The time between two yields of long work, in milliseconds. */
const SLICE_MS = 4;

/** Work that waits for the next iteration of the event loop. */
const waiting: (() => void)[] = [];

function resumeNext(): void {
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(resumeNext);
}

/**
 * Resolves in a later iteration of the event loop. Each iteration resumes only one waiter, so that the slices of concurrent
 * calls do not block the event loop for one long time.
 */
export const nextIteration = (): Promise<void> =>
  new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(resumeNext);
  });

/** Lets the event loop run during long work: the work is divided into slices of about 4 ms. */
export class YieldBudget {
  private sliceEnd = performance.now() + SLICE_MS;

  /**
   * Call it between two steps of the work. Returns a promise only when it is time to yield, so that the usual call costs no
   * await.
   */
  readonly spend = (): Promise<void> | undefined => (performance.now() < this.sliceEnd ? undefined : this.yield());

  /** Yields now. Call it before a step that is long and cannot be divided. */
  async yield(): Promise<void> {
    await nextIteration();
    this.sliceEnd = performance.now() + SLICE_MS;
  }
}
