import type { Engine, View } from "./engine.js";

/** A read of an open view. */
interface PendingRead {
  run(view: View): Promise<void>;
  reject(error: unknown): void;
}

/** The most views that one store holds open. Further ones end after their first read. */
const MAX_HELD = 64;

/** Opens views that stay open between several reads. Their number and their time are limited. */
export class HeldViews {
  private open = 0;

  constructor(private readonly engine: Engine) {}

  /** Runs one read in a view of its own. */
  read<T>(run: (view: View) => Promise<T>): Promise<T> {
    return this.engine.view(run);
  }

  /** Opens a view. Close it in a `finally`. */
  hold(): HeldView {
    const holdMs = this.open < MAX_HELD ? this.engine.viewHoldMs : 0;
    this.open += 1;
    return new HeldView(this.engine, holdMs, () => {
      this.open -= 1;
    });
  }
}

/**
 * A view that stays open until it is closed or its time has passed; with a time of 0 until its first read has ended. The view
 * begins with the first read. Wait for each read before the next one.
 */
export class HeldView {
  private readonly timer: NodeJS.Timeout | undefined;
  private reads: PendingRead[] = [];
  private wake: (() => void) | undefined;
  private isReading = false;
  private isOver = false;
  private isClosed = false;

  constructor(engine: Engine, holdMs: number, onEnd: () => void) {
    if (holdMs > 0) {
      this.timer = setTimeout(() => {
        this.end();
      }, holdMs).unref();
    } else {
      this.isOver = true;
    }
    const ended = engine.view((view) => this.serve(view));
    void ended
      .catch((error: unknown) => {
        this.isClosed = true;
        // The engine's form of the error that a read threw, or the reason why no view was opened.
        for (const { reject } of this.reads.splice(0)) reject(error);
      })
      .finally(() => {
        clearTimeout(this.timer);
        onEnd();
      });
  }

  /** Whether the view must not be used for a further read: its time has passed, or it was closed. */
  get hasEnded(): boolean {
    return this.isOver || this.isClosed;
  }

  /** Runs a read in the view. */
  read<T>(run: (view: View) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.reads.push({
        run: async (view) => {
          resolve(await run(view));
        },
        reject,
      });
      this.wake?.();
    });
  }

  /** Ends the view. A read that is running ends first. */
  close(): void {
    this.isClosed = true;
    this.wake?.();
  }

  /** Ends the time of the view, and the view itself unless a read is running. */
  private end(): void {
    this.isOver = true;
    if (!this.isReading) this.close();
  }

  private async serve(view: View): Promise<void> {
    for (;;) {
      const [read] = this.reads;
      if (read) {
        this.isReading = true;
        // A read that throws stays in the list, so that it gets the error in the form of the engine.
        await read.run(view);
        this.reads.shift();
        this.isReading = false;
        continue;
      }
      if (this.isClosed) return;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
