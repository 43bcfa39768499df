import { setTimeout } from "node:timers/promises";
import { type StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { type SqliteConnection, hasLostCode, isBusy } from "./connection.js";
import { Mutex } from "./mutex.js";

type Kind = "read" | "write";

/**
 * The statements that take the lock of a transaction. They run outside the event loop, because SQLite may wait in them. A transaction
 * that has its lock waits for no other process: it reads from one state of the log.
 */
const BEGIN: Readonly<Record<Kind, string>> = {
  // A plain BEGIN takes no lock. The first read does.
  read: "BEGIN; SELECT 1 FROM sqlite_master LIMIT 1",
  write: "BEGIN IMMEDIATE",
};

/** The longest wait for the lock of another process, as in the reference (contract 13.2). */
export const LOCK_WAIT_MS = 5000;
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Gives the one connection of a store to one transaction at a time. While a transaction waits for the lock of another process, the
 * connection is free: reads continue when another process writes.
 */
export class Transactions {
  private readonly mutex = new Mutex();
  /** When a lock was last refused. */
  private readonly refusedAt: Record<Kind, number> = { read: -Infinity, write: -Infinity };

  constructor(
    private readonly connection: SqliteConnection,
    private readonly lockWaitMs: number,
  ) {}

  /**
   * Opens a transaction, and returns the function that passes the connection on after its end. Throws BUSY when another process does
   * not give its lock back.
   */
  async begin(kind: Kind): Promise<() => void> {
    const start = performance.now();
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const unlock = await this.mutex.lock();
      const isLate = performance.now() - start >= this.lockWaitMs;
      // SQLite itself may wait for many seconds. Those that waited behind such a call wait for no further one.
      let cause: unknown;
      try {
        cause = isLate && this.refusedAt[kind] > start ? undefined : await this.tryToBegin(kind);
      } catch (error) {
        unlock();
        throw error;
      }
      if (cause === "begun") return unlock;
      unlock();
      if (isLate || performance.now() - start >= this.lockWaitMs) throw lockRefusal(kind, cause);
      await setTimeout(pause);
    }
  }

  /** Runs `work` alone on the connection, without a transaction. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.mutex.run(work);
  }

  /** Returns "begun", or the error by which the lock was refused. */
  private async tryToBegin(kind: Kind): Promise<unknown> {
    try {
      await this.connection.exec(BEGIN[kind]);
      return "begun";
    } catch (cause) {
      // The transaction of a read may have begun without its lock.
      await this.connection.exec("ROLLBACK").catch(() => undefined);
      if (!isBusy(cause) && !hasLostCode(cause)) throw cause;
      this.refusedAt[kind] = performance.now();
      return cause;
    }
  }
}

/** Returns the refusal of a call that another process's lock prevented. Nothing was changed. */
export function lockRefusal(kind: Kind, cause: unknown): StoreError {
  const text =
    "another process has locked the database for too long; repeat the call when that process has ended its work";
  return kind === "read" ? readFailed("BUSY", text, { cause }) : writeFailed("BUSY", text, { cause });
}

/** Translates an error by which a lock was refused in the middle of a transaction. */
export const withLockRefusal = (kind: Kind, cause: unknown): unknown =>
  isBusy(cause) ? lockRefusal(kind, cause) : cause;
