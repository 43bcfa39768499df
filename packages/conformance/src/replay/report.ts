/** A result that is not the expected one. */
export interface Difference {
  /** The index of the step in its trace, from 0. Absent for a vector, which is a single call. */
  readonly step?: number | undefined;
  readonly op: string;
  readonly expected: unknown;
  readonly found: unknown;
}

/** The result of playing one trace or one vector. */
export type Replayed =
  | {
      readonly name: string;
      readonly status: "passed";
      /** The number of steps that returned the result of a declared difference. */
      readonly declared: number;
    }
  | { readonly name: string; readonly status: "failed"; readonly differences: readonly Difference[] }
  | { readonly name: string; readonly status: "skipped"; readonly reason: string };

export const skipped = (name: string, reason: string): Replayed => ({ name, status: "skipped", reason });

/** Returns a failure when there are differences, and a pass otherwise. */
export const judged = (name: string, differences: readonly Difference[], declared = 0): Replayed =>
  differences.length > 0 ? { name, status: "failed", differences } : { name, status: "passed", declared };

const MAX_TEXT = 600;

const shorten = (text: string): string =>
  text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${String(text.length)} characters)`;

const inJson = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : shorten(JSON.stringify(value, (_, member: unknown) => (typeof member === "bigint" ? `${member}n` : member)));

/** Returns a text of three lines for each difference: its place, the expected and the found result. */
export function describeFailure(replayed: Replayed): string[] {
  if (replayed.status !== "failed") return [];
  return replayed.differences.map(({ step, op, expected, found }) => {
    const place = step === undefined ? replayed.name : `${replayed.name}, step ${String(step)}`;
    return `${place}, ${op}\n  expected ${inJson(expected)}\n  found    ${inJson(found)}`;
  });
}

/** Returns one line for each reason of a skip, with the number of skipped traces or vectors. */
export function describeSkips(all: readonly Replayed[]): string[] {
  const counts = new Map<string, number>();
  for (const one of all) if (one.status === "skipped") counts.set(one.reason, (counts.get(one.reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${String(count)} skipped: ${reason}`);
}

export const countOf = (all: readonly Replayed[], status: Replayed["status"]): number =>
  all.filter((one) => one.status === status).length;

/** Returns an error of any kind as a text, with its stack when it has one. */
export const describeError = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);
