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

test.each([2, 3])(
  "a store of format %i is accepted, and becomes one of format 4, which older versions refuse",
  (version) => {
    writeFileSync(join(folder, "format"), `bolthole ${version}\n`);
    claimFormat(folder);
    expect(readFileSync(join(folder, "format"), "utf8")).toBe(`bolthole ${version}\n`);
    raiseFormat(folder);
    // The check of an older version is `Number(version) > 3`; a newer format is the case below.
    expect(readFileSync(join(folder, "format"), "utf8")).toBe("bolthole 4\n");
    claimFormat(folder);
  },
);

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
    'expected "bolthole 4" in its file "format", found "something 2"',
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
