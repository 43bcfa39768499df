import type { Finding } from "./check/findings.js";
import type { Counts } from "./check/model.js";

export interface CycleReport {
  readonly cycle: number;
  readonly ending: string;
  readonly acknowledged: number;
  readonly replayed: number;
  readonly reads: number;
  readonly lost: number;
  readonly lostApplied: number;
  readonly lostSealed: number;
  readonly lostRepeated: number;
  /** From the strike to the end of all checks. */
  readonly checkedInMs: number;
  readonly findings: number;
}

export interface RunReport extends Counts {
  readonly kind: string;
  readonly seed: number;
  readonly cycles: number;
  readonly seconds: number;
  /** In any one cycle. */
  readonly leastAcknowledged: number;
  readonly runtimes: number;
  /** Retired runtimes that were gone through at the end, receipt by receipt. */
  readonly lastLook: number;
  /** How the daemon ended, and how often. */
  readonly endings: Readonly<Record<string, number>>;
  /** What else the strikes did, and how often. */
  readonly events: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
}

const listed = (times: Readonly<Record<string, number>>, unit: string): string =>
  Object.entries(times)
    .map(([what, count]) => `${what} ${String(count)}${unit}`)
    .join(", ");

export const cycleText = (cycle: CycleReport): string =>
  `cycle ${String(cycle.cycle)} (${cycle.ending}): ${String(cycle.acknowledged)} acknowledged, ` +
  `${String(cycle.lost)} without an answer (${String(cycle.lostApplied)} applied, ${String(cycle.lostSealed)} sealed, ` +
  `${String(cycle.lostRepeated)} applied by a repeat), ${String(cycle.reads)} reads, ` +
  `checked ${String(cycle.checkedInMs)} ms after, ${String(cycle.findings)} findings`;

const MAX_FINDINGS = 20;

export function runText(run: RunReport): string {
  const lines = [
    `${run.kind}, seed ${String(run.seed)}: ${String(run.cycles)} cycles in ${String(run.seconds)} s, daemon: ` +
      listed(run.endings, "x"),
    `  ${String(run.acknowledged)} acknowledged writes (at least ${String(run.leastAcknowledged)} in a cycle), ` +
      `${String(run.reads)} reads, ${String(run.runtimes - 1)} runtimes, ${String(run.lastLook)} old ones read whole at the end`,
    `  ${String(run.repeats)} repeats of acknowledged requests, ${String(run.replayed)} answers replayed by retries, ` +
      `${String(run.refused)} refusals by fence tokens and versions`,
    `  ${String(run.lost)} operations without an answer: ${String(run.lostApplied)} had been applied, ` +
      `${String(run.lostSealed)} sealed, ${String(run.lostRepeated)} applied by a repeat, ` +
      `${String(run.lostNotApplied)} missed or were refused`,
    ...(Object.keys(run.events).length > 0 ? [`  ${listed(run.events, "x")}`] : []),
  ];
  return lines.join("\n");
}

export function findingLines(findings: readonly Finding[]): string[] {
  const lines = [`  ${String(findings.length)} findings`];
  for (const { promise, runtime, what } of findings.slice(0, MAX_FINDINGS)) {
    lines.push(`    [${promise}] ${runtime}: ${what}`);
  }
  if (findings.length > MAX_FINDINGS) lines.push(`    and ${String(findings.length - MAX_FINDINGS)} more`);
  return lines;
}
