import { join } from "node:path";
import { countOf, describeFailure, describeSkips, playFile, vectorsFolder } from "@bolthole/conformance";
import { memoryStores } from "./testing/memory-stores.js";

const FILES = [
  "traces-basic",
  "traces-random",
  "traces-workload",
  "sessions",
  "guards",
  "inputs",
  "lifecycle",
  "receipts",
  "ops",
  "scalars",
];

const folder = vectorsFolder(__dirname);

describe("the memory engine responds as the reference does", () => {
  if (folder === undefined) {
    test.skip("in all recorded cases (skipped: there are no vectors beside the project)", () => undefined);
    return;
  }
  test.each(FILES)("in %s.jsonl (skipped without vectors beside the project)", async (file) => {
    const replayed = await playFile(join(folder, `${file}.jsonl`), memoryStores());
    expect(replayed.flatMap(describeFailure)).toEqual([]);
    console.info([`${file}: ${String(countOf(replayed, "passed"))} passed`, ...describeSkips(replayed)].join("\n"));
  });
});
