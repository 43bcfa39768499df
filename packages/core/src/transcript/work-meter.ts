/** Thrown when a check has done as much work as its limit allows. */
export class WorkLimitError extends Error {
  override readonly name = "WorkLimitError";

  constructor() {
    super("the check of a session document reached its work limit");
  }
}

/**
 * Counts the bytes that a check hashes and compares, and ends the check at a limit. A malicious history can
 * cause work that grows with the square of its size; histories of real sessions stay far below the limit.
 */
export class WorkMeter {
  private spent = 0;

  constructor(private readonly limit: number) {}

  /** Adds the work of `bytes` bytes. Throws `WorkLimitError` when the sum exceeds the limit. */
  charge(bytes: number): void {
    this.spent += bytes;
    if (this.spent > this.limit) throw new WorkLimitError();
  }
}

/** The work that is allowed for each byte of the documents. A session with many rewrites hashes each body about four times. */
export const WORK_PER_BYTE = 32;
const BASE_WORK = 512 * 1024 * 1024;

/** Returns the work limit of a full check over documents of `bytes` bytes together. */
export const workLimit = (bytes: number): number => BASE_WORK + WORK_PER_BYTE * bytes;
