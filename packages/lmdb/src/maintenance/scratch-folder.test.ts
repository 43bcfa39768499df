import { existsSync, mkdtempSync, open, closeSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeFolderInUse } from "./scratch-folder.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-scratch-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Starts to create a file on a thread of libuv. Resolves to whether it was created. */
const startCreating = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    open(path, "wx", 0o600, (error, descriptor) => {
      if (!error) closeSync(descriptor);
      resolve(!error);
    });
  });

// One file failed about one round of thirty with `rmSync` alone, also with its `maxRetries`.
test("a folder is removed while threads create files in it", async () => {
  let created = 0;
  for (let round = 0; round < 500; round += 1) {
    const scratch = mkdtempSync(join(folder, "round-"));
    writeFileSync(join(scratch, "format"), "");
    const calls = Array.from({ length: 4 }, (_, index) => startCreating(join(scratch, String(index))));
    // Passes some time, so that the threads are at another place in each round.
    for (let names = 0; names < round % 40; names += 1) existsSync(scratch);
    removeFolderInUse(scratch);
    expect(existsSync(scratch)).toBe(false);
    created += (await Promise.all(calls)).filter(Boolean).length;
    expect(existsSync(scratch)).toBe(false);
  }
  expect(created).toBeGreaterThan(0);
});
