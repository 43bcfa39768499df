import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describeFailure, describeSkips, playFile, vectorsFolder } from "@bolthole/conformance";
import { sqliteStores } from "./sqlite-stores.test.helper.js";

const folder = vectorsFolder(__dirname);

describe("the SQLite engine answers as the reference does, over every reopen", () => {
  const files = folder === undefined ? [] : readdirSync(folder).filter((name) => name.startsWith("traces-"));
  if (folder === undefined || files.length === 0) {
    test.skip("in all recorded traces (skipped: there are no vectors beside the project)", () => undefined);
    return;
  }
  test.each(files)("in %s (skipped without vectors beside the project)", async (file) => {
    const replayed = await playFile(join(folder, file), sqliteStores(), { atOnce: 4, reopenMidway: true });
    expect(replayed.flatMap(describeFailure)).toEqual([]);
    console.info(describeSkips(replayed).join("\n"));
  });
});
