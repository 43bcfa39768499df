import { readFileSync } from "node:fs";
import { join } from "node:path";
import { STORE_ERROR_REASONS } from "./error-reasons.js";

const DOCUMENT = join(__dirname, "..", "..", "..", "docs", "errors.md");

/** Returns the sections of the document by their reason: the line of facts under the heading, and the text after it. */
function sections(): Map<string, { readonly facts: string; readonly text: string }> {
  const [, ...parts] = readFileSync(DOCUMENT, "utf8").split(/^### /m);
  return new Map(
    parts.map((part) => {
      const [heading = "", , facts = "", , ...text] = part.split(/\n## /)[0]?.split("\n") ?? [];
      return [heading.replaceAll("`", ""), { facts, text: text.join("\n").trim() }];
    }),
  );
}

test("docs/errors.md has one section for each reason, in the order of the table", () => {
  expect([...sections().keys()]).toEqual(Object.keys(STORE_ERROR_REASONS));
});

test("docs/errors.md lists the reasons that are final after a lost response", () => {
  const [, section = ""] = /^## After a lost response\n([^]*?)^## /m.exec(readFileSync(DOCUMENT, "utf8")) ?? [];
  const [, list = ""] = /reasons are: ([^.]*)\./.exec(section) ?? [];
  const expected = Object.entries(STORE_ERROR_REASONS).flatMap(([reason, { isAfterLookup }]) =>
    isAfterLookup ? [reason] : [],
  );
  expect([...list.matchAll(/`([A-Z_]+)`/g)].map(([, reason]) => reason)).toEqual(expected);
});

test.each(Object.entries(STORE_ERROR_REASONS))(
  "docs/errors.md has the facts of the table about %s",
  (reason, facts) => {
    const { status, applied, retry } = facts;
    const section = sections().get(reason);
    expect(section?.facts).toBe(`${status} · applied: ${applied} · retry: ${retry.replaceAll("_", " ")}`);
    expect(section?.text).not.toBe("");
  },
);
