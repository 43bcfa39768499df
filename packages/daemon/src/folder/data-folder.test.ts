import fs, { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeFolder } from "./data-folder.js";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "bolthole-folder-"));
});
afterEach(() => {
  jest.restoreAllMocks();
  rmSync(home, { recursive: true, force: true });
});

test("each folder that is created is flushed in its parent, so that a power cut cannot remove the store in it", () => {
  const flushed: number[] = [];
  const { fsyncSync } = fs;
  jest.spyOn(fs, "fsyncSync").mockImplementation((file) => {
    flushed.push(fs.fstatSync(file).ino);
    fsyncSync(file);
  });
  const folder = join(home, "a", "b", "c");
  makeFolder(folder);
  const parents = [home, dirname(dirname(folder)), dirname(folder)];
  expect(flushed).toEqual(parents.map((path) => statSync(path).ino));
  makeFolder(folder);
  expect(flushed).toHaveLength(3);
});
