import { CHAPTERS } from "./chapters/index.js";
import { type Chapter, missing } from "./conformance-case.js";
import { runCase } from "./run-case.js";
import type { StoreFactory } from "./store-factory.js";

export interface CaseFailure {
  readonly chapter: string;
  readonly name: string;
  readonly error: unknown;
}

export interface CasesReport {
  readonly passed: number;
  /** `chapter: step (needs capability)`. */
  readonly skipped: readonly string[];
  readonly failures: readonly CaseFailure[];
}

/** Runs the suite without a test framework. */
export async function runCases(factory: StoreFactory, chapters: readonly Chapter[] = CHAPTERS): Promise<CasesReport> {
  const skipped: string[] = [];
  const failures: CaseFailure[] = [];
  let passed = 0;
  for (const chapter of chapters) {
    const vacuous = vacuity(chapter, factory);
    if (vacuous !== undefined) failures.push({ chapter: chapter.name, name: "(all)", error: new Error(vacuous) });
    for (const one of chapter.cases) {
      const lacks = missing(one.needs, factory.capabilities);
      if (lacks.length > 0) {
        skipped.push(`${chapter.name}: ${one.name} (needs ${lacks.join(", ")})`);
        continue;
      }
      try {
        await runCase(one, factory);
        passed += 1;
      } catch (error) {
        failures.push({ chapter: chapter.name, name: one.name, error });
      }
    }
  }
  return { passed, skipped, failures };
}

/** Why a chapter proves nothing, or undefined. One that is not promised at all may be skipped as a whole. */
export function vacuity(chapter: Chapter, { capabilities }: StoreFactory): string | undefined {
  if (missing(chapter.needs, capabilities).length > 0) return undefined;
  const runs = chapter.cases.some(({ needs }) => missing(needs, capabilities).length === 0);
  return runs ? undefined : `no case of the chapter ${chapter.name} runs with the declared capabilities`;
}
