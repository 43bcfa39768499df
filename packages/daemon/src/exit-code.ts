/** How the process ends. docs/operating.md says of each what to do. */
export const EXIT = {
  /** Stopped by a signal, everything answered and closed. */
  CLEAN: 0,
  /** A fault of the program. */
  INTERNAL: 1,
  /** Flags or variables that cannot be used; all of them are listed. */
  USAGE: 2,
  /** The data folder cannot be used: foreign, newer, not writable, writable by others. */
  DATA_FOLDER: 3,
  /** Another daemon holds the data folder. */
  HELD: 4,
  /** The address or socket is in use, or may not be listened on. */
  ADDRESS: 5,
  /** The disk failed under a write. Start again: what was acknowledged is there. */
  DISK: 6,
  /** The drain took too long, or a second signal came; calls were cut off. */
  CUT_OFF: 7,
  /** `bolthole status`: no daemon answers. */
  NOT_RUNNING: 8,
  /** `bolthole import` and `export`: something was left behind; every row and runtime of it was named. */
  INCOMPLETE: 9,
  /** The store or the backup is damaged: `serve` and `restore` refuse it, `verify` names every finding. */
  DAMAGED: 10,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A reason not to start, for the person who started it: one text, one exit code, no stack. */
export class StartupError extends Error {
  override readonly name = "StartFailure";

  constructor(
    readonly exitCode: ExitCode,
    message: string,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}
