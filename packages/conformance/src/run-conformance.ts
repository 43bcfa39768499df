/// <reference types="jest" />
import { CHAPTERS } from "./chapters/index.js";
import { missing } from "./conformance-case.js";
import { runCase } from "./run-case.js";
import { vacuity } from "./run-cases.js";
import type { StoreFactory } from "./store-factory.js";

/** The whole suite as jest tests, one for each step. */
export function runConformance(name: string, factory: StoreFactory): void {
  describe(`${name} conforms`, () => {
    for (const chapter of CHAPTERS) {
      describe(chapter.name, () => {
        const vacuous = vacuity(chapter, factory);
        if (vacuous !== undefined) {
          test("proves something", () => {
            throw new Error(vacuous);
          });
        }
        for (const one of chapter.cases) {
          const lacks = missing(one.needs, factory.capabilities);
          if (lacks.length > 0) test.skip(`${one.name} (needs ${lacks.join(", ")})`, () => undefined);
          else test(one.name, () => runCase(one, factory));
        }
      });
    }
  });
}
