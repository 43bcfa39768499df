import fc from "fast-check";
import { StoredTrees } from "../../testing/stored-trees.js";

const RUNTIMES = ["one", "another"] as const;

type Step =
  | { readonly kind: "replace"; readonly length: number }
  | { readonly kind: "clear" }
  | { readonly kind: "twice" }
  | { readonly kind: "cut"; readonly from: number; readonly to: number }
  | { readonly kind: "append"; readonly length: number }
  | { readonly kind: "reclaim"; readonly budget: number };

const part = fc.double({ min: 0, max: 1, noNaN: true });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("replace" as const), length: fc.nat(400_000) }),
  fc.record({ kind: fc.constant("clear" as const) }),
  fc.record({ kind: fc.constant("twice" as const) }),
  fc.record({ kind: fc.constant("cut" as const), from: part, to: part }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("append" as const), length: fc.nat(30_000) }) },
  fc.record({ kind: fc.constant("reclaim" as const), budget: fc.integer({ min: 1, max: 40 }) }),
);

async function apply(trees: StoredTrees, runtimeId: string, step: Step): Promise<void> {
  const length = trees.root(runtimeId)?.length ?? 0;
  const all = { offset: 0, length };
  switch (step.kind) {
    case "replace":
      await trees.replace(runtimeId, [Buffer.alloc(step.length, runtimeId)]);
      break;
    case "clear":
      trees.commit(runtimeId, undefined);
      break;
    case "twice":
      if (length < 3_000_000) await trees.replace(runtimeId, [all, all]);
      break;
    case "cut": {
      const offset = Math.floor(Math.min(step.from, step.to) * length);
      const end = Math.floor(Math.max(step.from, step.to) * length);
      await trees.replace(runtimeId, [{ offset, length: end - offset }]);
      break;
    }
    case "append":
      await trees.replace(runtimeId, [all, Buffer.alloc(step.length, "more")]);
      break;
    case "reclaim":
      trees.reclaim(step.budget);
  }
}

test("after any changes every count is the number of references, and no other nodes are stored", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom(...RUNTIMES), step), { maxLength: 40 }), async (steps) => {
      const trees = new StoredTrees();
      for (const [runtimeId, one] of steps) {
        await apply(trees, runtimeId, one);
        // Nodes that are not reclaimed yet are counted too.
        expect((await trees.findings()).filter(({ code }) => code !== "document-unfinished")).toEqual([]);
      }
      while (trees.reclaim(13));
      expect(await trees.findings()).toEqual([]);
      for (const runtimeId of RUNTIMES) trees.commit(runtimeId, undefined);
      while (trees.reclaim(512));
      expect([trees.count("node"), trees.count("count"), trees.count("garbage")]).toEqual([0, 0, 0]);
    }),
    { numRuns: 100 },
  );
});
