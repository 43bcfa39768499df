/// <reference types="jest" />
import assert from "node:assert/strict";
import { type CaseContext, type Chapter, type ConformanceCase, missingCapabilities } from "./chapter.js";
import { CHAPTERS } from "./chapters/index.js";
import type { StoreFactory, StoreHandle } from "./store-factory.js";

/**
 * Reports that a store breaks a case of the suite. The message names the chapter and the case, and says what was expected and
 * found; `cause` is the error of the check.
 */
export class ConformanceError extends Error {
  override readonly name = "ConformanceError";

  constructor(
    readonly chapter: string,
    readonly caseName: string,
    cause: unknown,
  ) {
    // The message of a failed check says what was expected. Any other error is a call that failed where it must not.
    const reason = cause instanceof assert.AssertionError ? cause.message : `expected no error, found ${String(cause)}`;
    super(`chapter "${chapter}", case "${caseName}": ${reason}`, { cause });
  }
}

/** Runs one case on a new site. Rejects with a `ConformanceError` when the store does not conform. */
export async function runCase(one: ConformanceCase, factory: StoreFactory): Promise<void> {
  try {
    await runOnNewSite(one, factory);
  } catch (cause) {
    throw new ConformanceError(one.chapter, one.name, cause);
  }
}

async function runOnNewSite(one: ConformanceCase, factory: StoreFactory): Promise<void> {
  const site = await factory.createSite();
  let handle: StoreHandle | undefined;
  const openHandle = (): StoreHandle => {
    assert.ok(handle, "expected an open handle, found none: the store could not be opened");
    return handle;
  };
  const context: CaseContext = {
    capabilities: factory.capabilities,
    get store() {
      return openHandle().store;
    },
    get versioned() {
      const { versioned } = openHandle();
      assert.ok(versioned, "the factory declares `versions`: expected a handle with `versioned`, found none");
      return versioned;
    },
    get transfer() {
      const { transfer } = openHandle();
      assert.ok(transfer, "the factory declares `transfers`: expected a handle with `transfer`, found none");
      return transfer;
    },
    hold() {
      const { hold } = openHandle();
      assert.ok(hold, "the factory declares `holds`: expected a handle with `hold`, found none");
      return hold();
    },
    async reopen() {
      const { close } = openHandle();
      handle = undefined;
      await close();
      handle = await site.open();
    },
  };
  try {
    handle = await site.open();
    await one.run(context);
  } finally {
    await handle?.close();
    await site.remove();
  }
}

export interface CaseFailure {
  readonly chapter: string;
  /** The name of the case, or `(all)` when no case of the chapter could run. */
  readonly name: string;
  readonly error: ConformanceError;
}

export interface CasesReport {
  readonly passed: number;
  /** One text for each skipped case: `chapter: case (needs capability)`. */
  readonly skipped: readonly string[];
  readonly failures: readonly CaseFailure[];
}

/** Runs the suite, or some of its chapters, without a test framework. */
export async function runCases(factory: StoreFactory, chapters: readonly Chapter[] = CHAPTERS): Promise<CasesReport> {
  const skipped: string[] = [];
  const failures: CaseFailure[] = [];
  let passed = 0;
  const fail = (error: ConformanceError): void => {
    failures.push({ chapter: error.chapter, name: error.caseName, error });
  };
  for (const chapter of chapters) {
    const empty = emptyChapterError(chapter, factory);
    if (empty) fail(empty);
    for (const one of chapter.cases) {
      const missing = missingCapabilities(one.needs, factory.capabilities);
      if (missing.length > 0) {
        skipped.push(`${chapter.name}: ${skippedName(one.name, missing)}`);
        continue;
      }
      try {
        await runCase(one, factory);
        passed += 1;
      } catch (error) {
        if (!(error instanceof ConformanceError)) throw error;
        fail(error);
      }
    }
  }
  return { passed, skipped, failures };
}

/** Defines the whole suite as jest tests, one for each case. */
export function runConformance(name: string, factory: StoreFactory): void {
  describe(`${name} conforms`, () => {
    for (const chapter of CHAPTERS) {
      describe(chapter.name, () => {
        const empty = emptyChapterError(chapter, factory);
        if (empty) {
          test("runs at least one case", () => {
            throw empty;
          });
        }
        for (const one of chapter.cases) {
          const missing = missingCapabilities(one.needs, factory.capabilities);
          if (missing.length > 0) test.skip(skippedName(one.name, missing), () => undefined);
          else test(one.name, () => runCase(one, factory));
        }
      });
    }
  });
}

const skippedName = (name: string, missing: readonly string[]): string => `${name} (needs ${missing.join(", ")})`;

/**
 * Returns an error when a chapter would pass without running a case. A chapter whose needs the store does not declare may be
 * skipped as a whole.
 */
function emptyChapterError(chapter: Chapter, { capabilities }: StoreFactory): ConformanceError | undefined {
  if (missingCapabilities(chapter.needs, capabilities).length > 0) return undefined;
  const canRun = chapter.cases.some(({ needs }) => missingCapabilities(needs, capabilities).length === 0);
  if (canRun) return undefined;
  const message = "expected at least one case to run with the declared capabilities, found none: declare more of them";
  return new ConformanceError(chapter.name, "(all)", new assert.AssertionError({ message }));
}
