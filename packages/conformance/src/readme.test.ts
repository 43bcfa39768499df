import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CHAPTERS } from "./chapters/index.js";

const README = readFileSync(join(__dirname, "..", "README.md"), "utf8");

test("the README lists every chapter, in the order in which they run", () => {
  const rows = README.split("\n").filter((line) => line.startsWith("| "));
  const names = rows.map((row) => row.split("|")[1]?.trim());
  expect(names.slice(names.indexOf("session"))).toEqual(CHAPTERS.map(({ name }) => name));
});

test("the names of cases are unique in their chapter", () => {
  for (const { cases } of CHAPTERS) {
    const names = cases.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  }
});
