import { CHAPTERS, type StoreFactory, runCases } from "@bolthole/conformance";
import { BROKEN_ADDITIONS } from "./testing/broken-additions.js";
import { BROKEN_CONTRACT } from "./testing/broken-contract.js";
import { memoryStores } from "./testing/memory-stores.js";
import { withPlain } from "./testing/plain-store.js";

const BROKEN = [...BROKEN_CONTRACT, ...BROKEN_ADDITIONS];

/** Runs one chapter, or all, and returns the failed steps as `chapter: step`. */
async function failuresOf(factory: StoreFactory, chapter?: string): Promise<string[]> {
  const chapters = CHAPTERS.filter(({ name }) => chapter === undefined || name === chapter);
  const { failures } = await runCases(factory, chapters);
  return failures.map(({ chapter: where, name }) => `${where}: ${name}`);
}

describe("the suite", () => {
  test.each(BROKEN)("detects a store that %s, in the chapter %s", async (_defect, chapter, step, factory) => {
    const failures = await failuresOf(factory, chapter);
    expect(failures.some((failure) => step.test(failure))).toBe(true);
  });

  test("has a broken store for every chapter", () => {
    expect(new Set(BROKEN.map(([, chapter]) => chapter))).toEqual(new Set(CHAPTERS.map(({ name }) => name)));
  });

  test("passes a store that is only wrapped", async () => {
    expect(await failuresOf(withPlain(() => ({})))).toEqual([]);
    expect(await failuresOf(memoryStores((store) => ({ ...store })))).toEqual([]);
  });
});

describe("a chapter without a case", () => {
  const empty = { name: "empty", needs: [], cases: [] };

  test("fails", async () => {
    expect((await runCases(memoryStores(), [empty])).failures).toHaveLength(1);
  });

  test("is skipped for a store without the capability that it needs", async () => {
    const report = await runCases(memoryStores(), [{ ...empty, needs: ["durable"] }]);
    expect(report.failures).toEqual([]);
  });
});
