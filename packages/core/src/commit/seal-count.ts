import type { Engine, View } from "../engine.js";
import { pagesOf } from "../engine.js";
import { isSealedOutcome } from "./outcome.js";

/**
 * Counts the sealed ids of a store. Nothing stored counts them, so the first question reads all outcomes, and later ones nothing.
 * The count limits how many are kept. No promise depends on it, so an id that is sealed at the moment when that reading begins may
 * be missed.
 */
export class SealCount {
  private counted: number | undefined;
  /** The ids that were sealed since the reading of all outcomes began. */
  private added = 0;

  /** Takes note of ids that were sealed, or with a number below zero of seals that were deleted. */
  add(change: number): void {
    this.added += change;
  }

  /** Returns the number of sealed ids. `sequence` is that of the last commit that changed an outcome. */
  async in(engine: Engine, sequence: number): Promise<number> {
    if (this.counted === undefined) {
      this.added = 0;
      let found = 0;
      for await (const page of pagesOf(separateViews(engine), { table: "outcome" })) {
        found += page.filter(({ row }) => row.sequence <= sequence && isSealedOutcome(row.value)).length;
      }
      this.counted = found;
    }
    return Math.max(0, this.counted + this.added);
  }
}

/** Reads each page in a view of its own: a view of all outcomes makes the writers of some engines wait, and the file of others grow. */
export const separateViews = (engine: Engine): Pick<View, "scan"> => ({
  scan: (range, limit, bytes) => engine.view((view) => view.scan(range, limit, bytes)),
});
