import type { Finding, RuntimeId } from "@bolthole/contract";

/** What one pass over a store read and found. Instants are milliseconds since the epoch. */
export interface PassReport {
  readonly startedAt: number;
  readonly endedAt?: number | undefined;
  /** That were read to their end. */
  readonly runtimes: number;
  readonly bytes: number;
  /** Of everything that was found. */
  readonly findingCount: number;
  /** The first ones of it. */
  readonly findings: readonly Finding[];
}

/** A pass under way. */
export interface UnfinishedPass extends PassReport {
  runtimes: number;
  bytes: number;
  findingCount: number;
  readonly findings: Finding[];
  /** The last runtime that was read; nothing before the first one. */
  after?: RuntimeId | undefined;
}

/** What a scrub knows of its work, and goes on by after a restart. */
export interface ScrubNote {
  /** That came to their end. */
  passes: number;
  current?: UnfinishedPass | undefined;
  last?: PassReport | undefined;
}

/** Keeps a scrub's note. One that is lost costs a pass from the beginning, and nothing else. */
export interface ScrubMemory {
  load(): ScrubNote | undefined;
  save(note: ScrubNote): void;
}

const KEPT_FINDINGS = 20;

export function noteFinding(pass: UnfinishedPass, finding: Finding): void {
  pass.findingCount += 1;
  if (pass.findings.length < KEPT_FINDINGS) pass.findings.push(finding);
}
