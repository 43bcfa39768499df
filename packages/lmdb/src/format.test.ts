import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FORMAT_VERSION, UnusableFolderError, claimFormat, raiseFormat } from "./format.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-format-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("an empty folder gets a format file, and is accepted again", () => {
  claimFormat(folder);
  expect(readFileSync(join(folder, "format"), "utf8")).toBe(`bolthole ${FORMAT_VERSION}\n`);
  claimFormat(folder);
});

test("a store of format 2 is accepted, and becomes one of format 3, which a version that reads only format 2 refuses", () => {
  writeFileSync(join(folder, "format"), "bolthole 2\n");
  claimFormat(folder);
  expect(readFileSync(join(folder, "format"), "utf8")).toBe("bolthole 2\n");
  raiseFormat(folder);
  // The check of the older version is `Number(version) > 2`; a newer format is the case below.
  expect(readFileSync(join(folder, "format"), "utf8")).toBe("bolthole 3\n");
  claimFormat(folder);
});

test.each([
  [
    "the format that was never released",
    "bolthole 1\n",
    "has format 1, but this version of Bolthole reads formats from 2",
  ],
  ["a newer format", "bolthole 999\n", "has format 999"],
  [
    "the format file of another program",
    "something 2\n",
    'expected "bolthole 3" in its file "format", found "something 2"',
  ],
  ["a format file with more text", "bolthole 2 3\n", 'found "bolthole 2 3"'],
])("%s is refused, and the file is not changed", (_what, mark, text) => {
  writeFileSync(join(folder, "format"), mark);
  expect(() => {
    claimFormat(folder);
  }).toThrow(UnusableFolderError);
  expect(() => {
    claimFormat(folder);
  }).toThrow(text);
  expect(readFileSync(join(folder, "format"), "utf8")).toBe(mark);
});
