import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { DOCUMENTS } from "./documents.js";
import { examplesOf } from "./files.js";

const SCHEMAS = join(__dirname, "..", "..", "schemas");
const PAGE = readFileSync(join(__dirname, "..", "..", "..", "..", "docs", "documents.md"), "utf8");
const [, RECORDS = ""] = PAGE.split("## What every document has");

test("docs/documents.md shows examples as they are in their files, and links the others", () => {
  const shown = [...RECORDS.matchAll(/```json\n([^]*?)```/g)].map(([, text]) => text);
  const examples = DOCUMENTS.flatMap(examplesOf).map(({ path }) => path);
  const texts = new Map(examples.map((path) => [path, readFileSync(join(SCHEMAS, path), "utf8")]));
  expect(shown.filter((text) => ![...texts.values()].includes(text ?? ""))).toEqual([]);
  const isThere = (path: string): boolean => shown.includes(texts.get(path)) || RECORDS.includes(`/schemas/${path})`);
  expect(examples.filter((path) => !isThere(path))).toEqual([]);
});

test.each(DOCUMENTS)("docs/documents.md shows a smallest $name below the link to its schema", (document) => {
  const [, section = ""] = RECORDS.split(`/schemas/${document.name}.schema.json)`);
  const [, first] = /```json\n([^]*?)```/.exec(section) ?? [];
  const texts = examplesOf(document).map(({ path }) => readFileSync(join(SCHEMAS, path), "utf8"));
  expect(texts).toContain(first);
});

test("the folder of schemas has exactly the files of the documents", () => {
  const expected = DOCUMENTS.flatMap((document) => [
    `${document.name}.schema.json`,
    ...examplesOf(document).map(({ path }) => path),
  ]);
  const found = readdirSync(SCHEMAS, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".json"));
  expect(found.sort()).toEqual(expected.sort());
});
