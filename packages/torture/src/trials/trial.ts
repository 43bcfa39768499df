import type { Finding } from "../check/findings.js";

export interface TrialOptions {
  readonly seed: number;
  readonly cycles: number;
  /** No cycle but the first begins after this instant. */
  readonly until: number;
  readonly folder: string;
  /** A script that is loaded into the daemon before anything else. */
  readonly preload?: string | undefined;
  readonly interrupted: AbortSignal;
  readonly onCycle: (facts: object, text: string) => void;
}

export interface TrialReport {
  readonly kind: string;
  readonly seed: number;
  readonly cycles: number;
  readonly seconds: number;
  readonly findings: readonly Finding[];
  /** What else there is to tell, line by line. */
  readonly lines: readonly string[];
}

/** A kind of torture that is not a load with a fault in each cycle. */
export interface Trial {
  readonly name: string;
  readonly description: string;
  run(options: TrialOptions): Promise<TrialReport>;
}
