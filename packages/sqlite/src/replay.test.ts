import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describeFailure, describeSkips, playFile, vectorsFolder } from "@bolthole/conformance";
import { sqliteStores } from "./testing/sqlite-stores.js";

const folder = vectorsFolder(__dirname);

describe("the SQLite engine returns what the reference returns, with the store reopened midway", () => {
  const files = folder === undefined ? [] : readdirSync(folder).filter((name) => name.startsWith("traces-"));
  if (folder === undefined || files.length === 0) {
    test.skip("in all recorded traces (skipped: the recorded vectors are missing)", () => undefined);
    return;
  }
  test.each(files)("in %s", async (file) => {
    const replayed = await playFile(join(folder, file), sqliteStores(), { atOnce: 4, reopenMidway: true });
    expect(replayed.flatMap(describeFailure)).toEqual([]);
    console.info(describeSkips(replayed).join("\n"));
  });
});
