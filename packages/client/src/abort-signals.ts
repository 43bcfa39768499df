/**
 * The listeners of each abort signal. A program may pass one signal to thousands of calls: each call adds its listener here, and
 * the signal itself has only one, so that Node.js does not warn of a leak.
 */
const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `listener` once when the signal aborts, and soon after the return when it is aborted already: such a signal has no further
 * event. Returns a function that removes the listener; call that when the work ends.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (!signal) return () => undefined;
  const all = signal.aborted ? new Set<() => void>() : (listeners.get(signal) ?? listenTo(signal));
  // A function of its own, so that the same listener may be added twice.
  const entry = (): void => {
    listener();
  };
  all.add(entry);
  if (signal.aborted) {
    queueMicrotask(() => {
      if (all.has(entry)) listener();
    });
  }
  return () => {
    all.delete(entry);
  };
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>();
  listeners.set(signal, all);
  signal.addEventListener(
    "abort",
    () => {
      listeners.delete(signal);
      for (const entry of all) entry();
    },
    { once: true },
  );
  return all;
}

/** Waits, and ends early when the signal aborts. */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      release();
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    const release = onAbort(signal, end);
  });
}
