import { CHAPTERS, type StoreFactory, runCases } from "@bolthole/conformance";
import { BROKEN_ADDITIONS } from "./testing/broken-additions.js";
import { BROKEN_CONTRACT } from "./testing/broken-contract.js";
import { memoryStores } from "./testing/memory-stores.js";
import { withPlain } from "./testing/plain-store.js";

const BROKEN = [...BROKEN_CONTRACT, ...BROKEN_ADDITIONS];

/** Runs one chapter, or all, and answers where the store failed: `chapter: step`. */
async function failuresOf(factory: StoreFactory, chapter?: string): Promise<string[]> {
  const chapters = CHAPTERS.filter(({ name }) => chapter === undefined || name === chapter);
  const { failures } = await runCases(factory, chapters);
  return failures.map(({ chapter: where, name }) => `${where}: ${name}`);
}

describe("the suite finds out a store that", () => {
  test.each(BROKEN)("%s, in the chapter %s", async (_flaw, chapter, step, factory) => {
    const failures = await failuresOf(factory, chapter);
    expect(failures.some((failure) => step.test(failure))).toBe(true);
  });

  test("every chapter has a store that fails in it", () => {
    expect(new Set(BROKEN.map(([, chapter]) => chapter))).toEqual(new Set(CHAPTERS.map(({ name }) => name)));
  });

  test("is only wrapped passes", async () => {
    expect(await failuresOf(withPlain(() => ({})))).toEqual([]);
    expect(await failuresOf(memoryStores((store) => ({ ...store })))).toEqual([]);
  });
});

describe("a chapter that runs no case", () => {
  const needy = { name: "needy", needs: [], cases: [] };

  test("fails", async () => {
    expect((await runCases(memoryStores(), [needy])).failures).toHaveLength(1);
  });

  test("is skipped when the store does not promise what it is about", async () => {
    const report = await runCases(memoryStores(), [{ ...needy, needs: ["durable"] }]);
    expect(report.failures).toEqual([]);
  });
});
