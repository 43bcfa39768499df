import { getSystemErrorMap } from "node:util";

/** Thrown when LMDB can begin no read: after a failed write, or because every reader slot is in use. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentError";

  constructor(override readonly cause: unknown) {
    super("LMDB cannot begin a read transaction");
  }

  /** Whether only the reader slots are used up: the read can succeed when another read transaction has ended. */
  get isOutOfReaders(): boolean {
    return this.cause instanceof Error && "code" in this.cause && this.cause.code === READERS_FULL;
  }
}

/** MDB_READERS_FULL */
const READERS_FULL = -30790;
/** MDB_PAGE_NOTFOUND */
const PAGE_NOT_FOUND = -30797;
/** MDB_CORRUPTED */
const CORRUPTED = -30796;

/** Whether LMDB reports that it read pages that it did not write. */
export const isCorruptionError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === PAGE_NOT_FOUND || error.code === CORRUPTED);

/** Whether LMDB reports MDB_PANIC. lmdb-js reports it with the code of an invalid argument, so only the text identifies it. */
const isPanic = (error: unknown): boolean => error instanceof Error && error.message.includes("MDB_PANIC");

export const orEnvironmentError = (error: unknown): unknown => (isPanic(error) ? new EnvironmentError(error) : error);

/** Adds the error number of the operating system to the error of a copy, of which lmdb-js has only the text. */
export function withErrno(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const text = error.message.toLowerCase();
  const [errno] = [...getSystemErrorMap()].find(([, [, known]]) => known === text) ?? [];
  return errno === undefined || "code" in error ? error : Object.assign(error, { errno });
}
