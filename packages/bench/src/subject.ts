import type { Section } from "./report.js";
import type { Rounds } from "./rounds.js";

/** What a run gives to each of its subjects. */
export interface Run {
  /** For the subject alone, empty, on a real disk. */
  readonly folder: string;
  readonly rounds: Rounds;
  /** A smoke test: small, and time is not judged. */
  readonly isShort: boolean;
  /** Where the daemon writes its CPU profile, if it is asked to. */
  readonly profileFile: string | undefined;
}

/** One group of rows. It ends every process that it starts, however it ends itself. */
export type Subject = (run: Run) => Promise<Section>;
