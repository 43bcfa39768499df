import { fuzzCase, fuzzSeeds, problemOf } from "./fuzz-case.js";
import { Random } from "./random.js";

test("every check of a randomly changed document ends, and reads canonical and other spellings in the same way", () => {
  const random = new Random(20260528);
  const seeds = fuzzSeeds();
  for (let count = 0; count < 1_500; count++) expect(fuzzCase(seeds, random).problem).toBeUndefined();
});

test("the seeds themselves have no problem", () => {
  for (const seed of fuzzSeeds()) expect(problemOf(seed)).toBeUndefined();
});
