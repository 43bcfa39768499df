import { type Measured, type Window, type Work, closedLoop } from "./closed-loop.js";

/** One operation on one server by so many callers. */
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
  /** One for each round. */
  readonly rounds: readonly Measured[];
}

export interface Rounds {
  readonly count: number;
  readonly window: Window;
  /** Runs a first round that does not count, so that every code path is compiled. */
  readonly hasRehearsal: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/**
 * Measures every cell once in each round (A B C A B C ...), so that the machine's noise hits all alike. `afterRound`
 * checks what the round has left.
 */
export async function measureRounds(
  cells: readonly Cell[],
  rounds: Rounds,
  afterRound: () => Promise<void>,
): Promise<MeasuredCell[]> {
  const results = cells.map((cell) => ({ ...cell, rounds: [] as Measured[] }));
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

/** What each round says by itself: both sides of a quotient were measured close together. */
export const ratios = (one: MeasuredCell, other: MeasuredCell, figure: keyof Measured): number[] =>
  one.rounds.map((round, index) => round[figure] / (other.rounds[index]?.[figure] ?? Number.NaN));

export const medianOf = (cell: MeasuredCell, figure: keyof Measured): number =>
  median(cell.rounds.map((round) => round[figure]));
