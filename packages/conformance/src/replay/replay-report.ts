/** One answer that is not the expected one. */
export interface Difference {
  /** Counted from 0; absent in a case of one call. */
  readonly step?: number | undefined;
  readonly op: string;
  readonly expected: unknown;
  readonly got: unknown;
}

/** What became of one trace, or one case of a family. */
export type Replayed =
  | { readonly name: string; readonly status: "passed"; readonly declared: number }
  | { readonly name: string; readonly status: "failed"; readonly differences: readonly Difference[] }
  | { readonly name: string; readonly status: "skipped"; readonly reason: string };

export const skipped = (name: string, reason: string): Replayed => ({ name, status: "skipped", reason });

export const judged = (name: string, differences: readonly Difference[], declared = 0): Replayed =>
  differences.length > 0 ? { name, status: "failed", differences } : { name, status: "passed", declared };

const MAX_TEXT = 600;

const shorten = (text: string): string =>
  text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}... (${String(text.length)} characters)`;

const inJson = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : shorten(JSON.stringify(value, (_, member: unknown) => (typeof member === "bigint" ? `${member}n` : member)));

/** One line for each difference. */
export function describeFailure(replayed: Replayed): string[] {
  if (replayed.status !== "failed") return [];
  return replayed.differences.map(({ step, op, expected, got }) => {
    const place = step === undefined ? replayed.name : `${replayed.name}, step ${String(step)}`;
    return `${place}, ${op}\n  expected ${inJson(expected)}\n  got      ${inJson(got)}`;
  });
}

/** One line for each reason, with the number of cases. */
export function describeSkips(all: readonly Replayed[]): string[] {
  const counts = new Map<string, number>();
  for (const one of all) if (one.status === "skipped") counts.set(one.reason, (counts.get(one.reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${String(count)} skipped: ${reason}`);
}

export const countOf = (all: readonly Replayed[], status: Replayed["status"]): number =>
  all.filter((one) => one.status === status).length;
