/** A promise that did not hold. */
export interface Finding {
  /** What kind of promise, so that runs can be compared. */
  readonly promise:
    | "acknowledged"
    | "read"
    | "whole operations"
    | "at most once"
    | "request outcome"
    | "known content"
    | "compare-and-set"
    | "sound answers"
    | "fencing"
    | "linearizable"
    | "goes on"
    | "coverage"
    | "bounded memory"
    | "restart";
  readonly runtime: string;
  readonly what: string;
}

export class Findings {
  readonly all: Finding[] = [];

  add(promise: Finding["promise"], runtime: string, what: string): void {
    this.all.push({ promise, runtime, what });
  }
}
