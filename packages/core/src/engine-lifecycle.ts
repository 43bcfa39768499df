import { StoreError } from "@bolthole/contract";
import type { View } from "./engine.js";

/** The kind of a refused call: a change, or a read. */
type Refused = "WriteFailed" | "ReadFailed";

/** Returns the error of a call that an engine refuses because it is closing. Nothing was changed. */
export const closingRefusal = (variant: Refused): StoreError =>
  new StoreError(variant, "SHUTTING_DOWN", "the store is being closed; repeat the call when it is open again");

/** The last two steps of closing an engine. */
export interface ClosingSteps {
  /** Refuses new work of the writer, and resolves when all work that it has accepted is done or refused. */
  readonly drain: () => Promise<unknown>;
  /** Releases the files. It is called when nothing uses them any more. */
  readonly release: () => Promise<void>;
}

/**
 * The state of an engine: open, then closing, then closed. It makes closing a barrier: new work is refused, running work is
 * waited for or aborted, and only then the files are released. An engine passes every call that uses its files through `run`,
 * except those that only wait for its writer.
 */
export class EngineLifecycle {
  private readonly closing = new AbortController();
  private readonly held = new Set<() => Promise<void>>();
  private isClosing = false;
  private running = 0;
  private becomeIdle: (() => void) | undefined;
  private closed: Promise<void> | undefined;

  /** Aborted when the engine begins to close, for work that is aborted then. */
  get signal(): AbortSignal {
    return this.closing.signal;
  }

  /** Throws SHUTTING_DOWN when the engine is closing or closed. Work that may be long calls it before each step. */
  refuseAfterClosing(variant: Refused = "ReadFailed"): void {
    if (this.isClosing) throw closingRefusal(variant);
  }

  /** Runs a call that closing waits for. Rejects with SHUTTING_DOWN when the engine is closing or closed. */
  async run<T>(variant: Refused, work: () => Promise<T>): Promise<T> {
    this.refuseAfterClosing(variant);
    this.running += 1;
    try {
      return await work();
    } finally {
      this.running -= 1;
      if (this.running === 0) this.becomeIdle?.();
    }
  }

  /**
   * Registers what outlives its call, such as an open file. Closing calls `release` and waits for it. Returns the function that
   * releases it earlier.
   */
  hold(release: () => Promise<void>): () => Promise<void> {
    const once = (): Promise<void> => {
      const isHeld = this.held.delete(once);
      return isHeld ? release() : Promise.resolve();
    };
    this.held.add(once);
    return once;
  }

  /** Returns the view with a refusal of each read after the engine began to close. */
  guard(view: View): View {
    return {
      get: (key) => (this.isClosing ? this.refuseRead() : view.get(key)),
      scan: (range, limit, bytes) => (this.isClosing ? this.refuseRead() : view.scan(range, limit, bytes)),
      document: (key, range) => (this.isClosing ? this.refuseRead() : view.document(key, range)),
    };
  }

  /** Closes the engine. A second call returns the same promise. */
  close({ drain, release }: ClosingSteps): Promise<void> {
    if (this.closed) return this.closed;
    this.isClosing = true;
    this.closing.abort();
    this.closed = this.finish(drain(), release);
    return this.closed;
  }

  private async finish(drained: Promise<unknown>, release: () => Promise<void>): Promise<void> {
    await drained;
    if (this.running > 0) {
      await new Promise<void>((resolve) => {
        this.becomeIdle = resolve;
      });
    }
    await Promise.all([...this.held].map((end) => end()));
    await release();
  }

  private refuseRead(): Promise<never> {
    return Promise.reject(closingRefusal("ReadFailed"));
  }
}
