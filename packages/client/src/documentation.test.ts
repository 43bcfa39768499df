import { RuntimeStoreAdapter, STORE_ERROR_REASONS } from "@bolthole/contract";
import { BoltholeStore } from "./connect.js";
import { resolveOptions } from "./connect-options.js";
import { documentedProgram, readPage, runProgram } from "./testing/documented-program.js";

/** Reasons that the daemon never returns. Other stores of the contract use them. */
const REASONS_OF_OTHER_STORES = ["NOT_FOUND"];

test.each(["docs/client.md", "docs/mistakes.md", "packages/client/README.md"])(
  "the snippets of %s run and print what they say",
  async (page) => {
    const { source, expectedOutput } = documentedProgram(page);
    expect(expectedOutput).not.toEqual([]);
    expect(await runProgram(source)).toEqual(expectedOutput);
  },
);

const table = (page: string): string => page.match(/^\|.*\|$/gm)?.join("\n") ?? "";
const errorsOfStore = (code: string): string => /\*\*Errors\.\*\*[^]*?\*\//.exec(code)?.[0] ?? "";

test.each([
  ["the table in docs/client.md", table(readPage("docs/client.md"))],
  ["the doc comment of BoltholeStore", errorsOfStore(readPage("packages/client/src/connect.ts"))],
])("%s names every reason that a call can have", (_, text) => {
  const expected = Object.keys(STORE_ERROR_REASONS).filter((reason) => !REASONS_OF_OTHER_STORES.includes(reason));
  const named = new Set([...text.matchAll(/`([A-Z_]+)`/g)].map(([, reason]) => reason));
  expect([...named].sort()).toEqual(expected.sort());
});

test("docs/client.md names every method of the store that the reference's trait does not have", () => {
  const reference = readPage("packages/contract/src/runtime-store.ts");
  const own = [BoltholeStore, RuntimeStoreAdapter].flatMap((store) => Object.getOwnPropertyNames(store.prototype));
  const page = readPage("docs/client.md");
  const isHidden = (name: string): boolean =>
    name === "constructor" || readPage("packages/contract/src/runtime-store-adapter.ts").includes(`private ${name}`);
  const methods = own.filter((name) => !isHidden(name) && !reference.includes(`  ${name}(`));
  expect(methods).toContain("deleteRuntime");
  expect(methods.filter((name) => !page.includes(name))).toEqual([]);
});

test("docs/client.md lists every option with its default", () => {
  const rows = [...readPage("docs/client.md").matchAll(/^\| `(\w+)` +\| ([\d,]+|none) /gm)].map(
    ([, name = "", value = ""]): [string, number | undefined] => [
      name,
      value === "none" ? undefined : Number(value.replaceAll(",", "")),
    ],
  );
  expect(Object.fromEntries(rows)).toEqual(resolveOptions({}));
});
