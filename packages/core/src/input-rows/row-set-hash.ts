import { createHash } from "node:crypto";
import { YieldBudget } from "../yield-budget.js";

/** How many bytes are hashed before the event loop may run. */
const HASHED_BYTES = 1 << 20;

/** The SHA-256 of rows in their order: the same for the same names and values, whatever the versions of the rows are. */
export class RowSetHash {
  rows = 0;
  private readonly hash = createHash("sha256");
  private readonly budget = new YieldBudget();

  /** Adds a row. Its name is its key, or what distinguishes its key from those of the other rows. */
  async add(name: string, value: Uint8Array): Promise<void> {
    this.rows += 1;
    this.hash.update(`${name} ${String(value.length)} `);
    for (let at = 0; at < value.length; at += HASHED_BYTES) {
      this.hash.update(value.subarray(at, at + HASHED_BYTES));
      const wait = this.budget.spend();
      if (wait) await wait;
    }
  }

  /** Returns the hash. Call it once, after the last row. */
  digest(): Buffer {
    return this.hash.digest();
  }
}
