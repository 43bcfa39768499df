/** A check has done as much work as it may. */
export class TooMuchWork extends Error {}

/**
 * Counts the bytes that a check hashes or compares. A graph made for it can ask for work that grows with the square of
 * its size; no honest one comes near the bound.
 */
export class WorkMeter {
  private spent = 0;

  constructor(private readonly limit: number) {}

  charge(bytes: number): void {
    this.spent += bytes;
    if (this.spent > this.limit) throw new TooMuchWork();
  }
}

/** A session that was rewritten often hashes each retained body about four times. */
export const WORK_PER_BYTE = 32;
const FREE_WORK = 512 * 1024 * 1024;

/** The most work that documents of these sizes may cause together. */
export const workLimit = (bytes: number): number => FREE_WORK + WORK_PER_BYTE * bytes;
