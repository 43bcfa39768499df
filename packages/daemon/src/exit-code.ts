import { StoreError } from "@bolthole/contract";
import { UnusableHorizonError } from "@bolthole/core";
import {
  DamagedStoreError,
  DiskFailureError,
  UnusableBackupError,
  UnusableFolderError,
  openFailure,
} from "@bolthole/lmdb";
import { UnusableFileError } from "@bolthole/sqlite";

/** The exit codes of every `bolthole` command. docs/operating.md has the remedy for each. */
export const EXIT = {
  /** Success; for `serve`, a stop by a signal after all calls were completed. */
  CLEAN: 0,
  /** A defect of the program, a request that the store refused, or an output that could not be written. */
  INTERNAL: 1,
  /** Options or environment variables cannot be used; the message lists all of them. */
  USAGE: 2,
  /**
   * The data folder cannot be used: not a Bolthole folder, a newer format, not writable, or writable by others. Or the disk has no space
   * for it, or for the file that a command writes.
   */
  DATA_FOLDER: 3,
  /** Another process has locked the data folder. */
  HELD: 4,
  /** The address or socket is in use, or the daemon may not listen on it. */
  ADDRESS: 5,
  /** The disk failed during a write. Acknowledged changes are safe; start the daemon again. */
  DISK: 6,
  /** The drain timed out or a second signal arrived; calls were cut off. */
  CUT_OFF: 7,
  /** No daemon responds: `bolthole status`, and commands that work through a daemon. */
  NOT_RUNNING: 8,
  /** `bolthole import` and `export`: some data was not moved; each row and runtime was named. */
  INCOMPLETE: 9,
  /** The store or the backup is damaged: `serve` and `restore` refuse it, `verify` and `export --salvage` name every finding. */
  DAMAGED: 10,
  /**
   * A stop could not close the store within its time limit. The process ends itself by SIGKILL, which shells report as 137: any
   * other end would wait for the calls to the disk that do not return.
   */
  NOT_CLOSED: 137,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An error for the person at the command line: the command prints the message without a stack and exits with `exitCode`. */
export class StartupError extends Error {
  override readonly name = "StartupError";

  constructor(
    readonly exitCode: ExitCode,
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** Whether a call failed because the daemon gave no answer, so that no further call will have one. */
export const isWithoutAnswer = (error: unknown): error is StoreError =>
  error instanceof StoreError &&
  ["UNAVAILABLE", "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN", "SHUTTING_DOWN"].includes(error.reason);

/** Whether the disk failed under a store that this process has open. Such an error of a daemon has no cause, or one of gRPC. */
function isOwnDiskFailure({ reason, subject: { cause } }: StoreError): boolean {
  return (
    reason === "OUTCOME_UNKNOWN" && cause instanceof Error && !(cause instanceof StoreError) && !("metadata" in cause)
  );
}

function exitCodeOf(error: StoreError): ExitCode {
  if (error.reason === "DISK_FULL") return EXIT.DATA_FOLDER;
  if (isOwnDiskFailure(error)) return EXIT.DISK;
  return isWithoutAnswer(error) ? EXIT.NOT_RUNNING : EXIT.INTERNAL;
}

/** Returns the exit code and the text for an error that ends a command. */
export function failureOf(error: unknown): { readonly exitCode: ExitCode; readonly message: string } {
  if (error instanceof StartupError) return error;
  if (error instanceof StoreError && error.reason !== "INTERNAL") {
    return { exitCode: exitCodeOf(error), message: error.text };
  }
  const text = error instanceof Error ? error.message : String(error);
  const advice = "this is unexpected; run bolthole --debug with the same command for the stack";
  return { exitCode: EXIT.INTERNAL, message: `${text}\n${advice}` };
}

/**
 * Runs work on a store, a backup or a database file. Rejects with a StartupError when the cause is known and is not a defect of the
 * program.
 */
export async function withExitCode<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw knownFailure(error);
  }
}

/** Returns a StartupError when the cause is known and is not a defect of the program, and else `error`. */
export function knownFailure(error: unknown): unknown {
  if (error instanceof UnusableBackupError) {
    return new StartupError(EXIT.DAMAGED, `the backup cannot be used: ${error.message}`, error);
  }
  if (error instanceof UnusableHorizonError) return new StartupError(EXIT.USAGE, error.message, error);
  if (error instanceof UnusableFolderError || error instanceof UnusableFileError) {
    return new StartupError(EXIT.DATA_FOLDER, error.message, error);
  }
  if (error instanceof DiskFailureError) return new StartupError(EXIT.DISK, error.message, error);
  if (error instanceof StoreError && error.reason === "UNSUPPORTED") {
    return new StartupError(EXIT.USAGE, error.message, error);
  }
  if (error instanceof StoreError && error.reason !== "INTERNAL") {
    return new StartupError(failureOf(error).exitCode, error.message, error);
  }
  return error;
}

/** Returns the error that ends a start: a StartupError when the data, its folder or its disk is the cause, and else `error`. */
export function startFailure(folder: string, error: unknown): unknown {
  const failure =
    error instanceof StartupError || error instanceof UnusableFileError ? error : openFailure(folder, error);
  if (failure instanceof UnusableFolderError || failure instanceof UnusableFileError) {
    return new StartupError(EXIT.DATA_FOLDER, failure.message, failure);
  }
  if (failure instanceof DamagedStoreError) return new StartupError(EXIT.DAMAGED, failure.message, failure);
  if (failure instanceof DiskFailureError) return new StartupError(EXIT.DISK, failure.message, failure);
  return failure;
}
