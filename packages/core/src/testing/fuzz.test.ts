import { fuzzCase, problemOf } from "./fuzz-case.js";
import { fuzzSeeds } from "./fuzz-seeds.js";
import { Random } from "./random.js";

test("documents changed at random are read the same in both ways, and every check of them ends", () => {
  const random = new Random(20260528);
  const seeds = fuzzSeeds();
  for (let count = 0; count < 1_500; count++) expect(fuzzCase(seeds, random).problem).toBeUndefined();
});

test("the seeds themselves are without a problem", () => {
  for (const seed of fuzzSeeds()) expect(problemOf(seed)).toBeUndefined();
});
