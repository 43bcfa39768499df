import { type CallFigures, type Window, type Work, closedLoop } from "./load/loops.js";

/** One operation on one server with a number of callers. */
export interface Cell {
  readonly operation: string;
  readonly server: { readonly name: string; cpuMs(): number };
  readonly callers: number;
  readonly work: Work;
}

export interface MeasuredCell {
  readonly operation: string;
  readonly server: { readonly name: string };
  readonly callers: number;
  /** The figures of each round. */
  readonly rounds: readonly CallFigures[];
}

interface Rounds {
  readonly count: number;
  readonly window: Window;
  /** Whether a first round runs that does not count, so that all code is compiled. */
  readonly hasRehearsal: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/**
 * Measures every cell once in each round (A B C A B C ...), so that noise of the machine affects all cells. `afterRound`
 * checks what the round stored.
 */
export async function measureRounds(
  cells: readonly Cell[],
  rounds: Rounds,
  afterRound: () => Promise<void>,
): Promise<MeasuredCell[]> {
  const results = cells.map((cell) => ({ ...cell, rounds: [] as CallFigures[] }));
  for (let round = rounds.hasRehearsal ? 0 : 1; round <= rounds.count; round += 1) {
    for (const cell of results) {
      const { operation, server, callers, work } = cell;
      rounds.onProgress(
        `round ${String(round)} of ${String(rounds.count)}: ${operation}, ${server.name}, ${String(callers)}`,
      );
      const measured = await closedLoop(work, callers, rounds.window, () => server.cpuMs(), rounds.signal);
      if (round > 0) cell.rounds.push(measured);
    }
    await afterRound();
  }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const above = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + above) / 2 : above;
}

/** Returns the ratio of each round; both sides of a ratio were measured close together. */
export const ratios = (one: MeasuredCell, other: MeasuredCell, figure: keyof CallFigures): number[] =>
  one.rounds.map((round, index) => round[figure] / (other.rounds[index]?.[figure] ?? Number.NaN));

export const medianOf = (cell: MeasuredCell, figure: keyof CallFigures): number =>
  median(cell.rounds.map((round) => round[figure]));

/** The settings of a run, for one row group. */
export interface Run {
  /** An empty folder on a real disk, used by this row group only. */
  readonly folder: string;
  readonly rounds: Rounds;
  /** Whether the run is a short test, in which times are not judged. */
  readonly isShort: boolean;
  /** The file for a CPU profile of the daemon. */
  readonly profileFile: string | undefined;
}
