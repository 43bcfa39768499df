import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FORMAT_VERSION, UnusableFolderError, claimFormat } from "./format.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-format-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("an empty folder is marked with the format, and taken again", () => {
  claimFormat(folder);
  expect(readFileSync(join(folder, "format"), "utf8")).toBe(`bolthole ${FORMAT_VERSION}\n`);
  claimFormat(folder);
});

test.each([
  ["the format that was never released", "bolthole 1\n", "has format 1, which no release has written"],
  ["a newer format", "bolthole 999\n", "has format 999"],
  ["another make", "something 2\n", "is of another make"],
])("%s is refused, and nothing is changed", (_what, mark, text) => {
  writeFileSync(join(folder, "format"), mark);
  expect(() => {
    claimFormat(folder);
  }).toThrow(UnusableFolderError);
  expect(() => {
    claimFormat(folder);
  }).toThrow(text);
  expect(readFileSync(join(folder, "format"), "utf8")).toBe(mark);
});
