/** Exit codes of the command. */
export const EXIT = {
  /** No promise was broken. With `--control`: the broken daemon was caught. */
  passed: 0,
  /** A promise was broken. With `--control`: the broken daemon was not caught. */
  failed: 1,
  usage: 2,
  /** This machine cannot run the kind. */
  unsupported: 3,
  /** The harness itself failed; the run has no result for the store. */
  harness: 4,
} as const;

/** Thrown when this machine cannot run a kind; the message names what is missing. */
export class UnsupportedMachineError extends Error {
  override readonly name = "UnsupportedMachineError";
}

/** A promise that did not hold. */
export interface Violation {
  /** The promise. docs/durability.md explains each of them. */
  readonly promise:
    | "acknowledged"
    | "durable reads"
    | "all or nothing"
    | "at most once"
    | "request outcome"
    | "known content"
    | "compare-and-set"
    | "correct responses"
    | "fencing"
    | "linearizable"
    | "stays in service"
    | "coverage"
    | "bounded memory"
    | "full disk"
    | "failing disk"
    | "orderly stop"
    | "restart";
  /** The runtime, RPC or mutation that it concerns; empty when it concerns the whole daemon. */
  readonly runtime: string;
  readonly what: string;
}

export class Violations {
  readonly all: Violation[] = [];

  add(promise: Violation["promise"], runtime: string, what: string): void {
    this.all.push({ promise, runtime, what });
  }
}

export interface RunOptions {
  readonly seed: number;
  readonly cycles: number;
  /** Only the first cycle may begin after this time, in milliseconds since 1970. */
  readonly until: number;
  /** The folder for data, logs and ledgers. */
  readonly folder: string;
  /** A script that the daemon loads first; controls break the daemon with it. */
  readonly preload?: string | undefined;
  readonly interrupted: AbortSignal;
  /** Receives each finished cycle, as a JSON value and as a line of text. */
  readonly onCycle: (facts: object, text: string) => void;
}

/** The number of operations that got no response, and of their final results. */
export interface Unanswered {
  readonly count: number;
  readonly applied: number;
  /** The request id was sealed, so the operation can never be applied. */
  readonly sealed: number;
  readonly appliedByRepeat: number;
  /** The repeated request was refused, or its compare-and-set missed. */
  readonly notApplied: number;
}

export interface RunReport {
  readonly kind: string;
  readonly seed: number;
  readonly cycles: number;
  readonly seconds: number;
  readonly violations: readonly Violation[];
  /** Acknowledged writes in the ledger; absent when the kind has no ledger. */
  readonly acknowledged?: number | undefined;
  readonly unanswered?: Unanswered | undefined;
  /** The endings of the daemon with their counts; "lives on" when the fault did not end it. */
  readonly endings?: Readonly<Record<string, number>> | undefined;
  /** Other events of the run with their counts. */
  readonly events: Readonly<Record<string, number>>;
  /** Details for the person who started the run. */
  readonly lines: readonly string[];
}

/** A kind of torture: one way of breaking the machine, the network, the requests or the store. */
export interface Kind {
  readonly name: string;
  readonly description: string;
  /** Whether the kind mounts a file system, which needs root and a mount namespace. */
  readonly mountsDisk: boolean;
  /** Throws UnsupportedMachineError when this machine cannot run the kind. */
  run(options: RunOptions): Promise<RunReport>;
}

/** Whether a run starts another cycle: it ends at the first violation, at its limits, and when it is interrupted. */
export function hasNextCycle(
  { cycles, until, interrupted }: Pick<RunOptions, "cycles" | "until" | "interrupted">,
  done: number,
  violations: Violations,
): boolean {
  const isInTime = done === 0 || Date.now() < until;
  return violations.all.length === 0 && done < cycles && isInTime && !interrupted.aborted;
}

/** The environment that loads a control into the daemon. */
export const preloadEnvironment = (preload: string | undefined): NodeJS.ProcessEnv =>
  preload === undefined ? {} : { NODE_OPTIONS: `--require ${preload}` };

/** Seconds since `startedAt`, a value of `performance.now()`. */
export const secondsSince = (startedAt: number): number => Math.round((performance.now() - startedAt) / 1000);

/** Counts things by name. */
export class Counter {
  private readonly counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count);
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  get size(): number {
    return this.counts.size;
  }

  has(name: string): boolean {
    return this.counts.has(name);
  }

  toObject(): Record<string, number> {
    return Object.fromEntries(this.counts);
  }

  /** Returns all names with their counts, the highest count first. */
  toString(): string {
    return [...this.counts]
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `${name} ${count.toLocaleString("en")}`)
      .join(", ");
  }
}

const MAX_LISTED = 20;

export function violationLines(violations: readonly Violation[]): string[] {
  const lines = [`  ${String(violations.length)} violations`];
  for (const { promise, runtime, what } of violations.slice(0, MAX_LISTED)) {
    lines.push(`    [${promise}] ${runtime}: ${what}`);
  }
  if (violations.length > MAX_LISTED) lines.push(`    and ${String(violations.length - MAX_LISTED)} more`);
  return lines;
}
