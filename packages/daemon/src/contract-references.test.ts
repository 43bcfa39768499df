import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { RuntimeStoreService } from "@bolthole/contract/wire";

const ROOT = join(__dirname, "..", "..", "..");

/** The folders of generated code. */
const GENERATED: ReadonlySet<string> = new Set(["gen", "boltholepb"]);

/** Returns all files below a folder with this ending, without generated code. */
const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((path) => !path.split(/[\\/]/).some((folder) => GENERATED.has(folder)));

const codeFiles = (): string[] => [
  ...readdirSync(join(ROOT, "packages")).flatMap((name) => {
    const folder = join("packages", name);
    return existsSync(join(ROOT, folder, "src")) ? filesIn(join(folder, "src"), ".ts") : filesIn(folder, ".go");
  }),
  ...filesIn("proto", ".proto"),
];

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** Returns a file with every comment joined to one line, because a citation may be broken across two. */
const joinedText = (path: string): string => read(path).replaceAll(/\n\s*(?:\/\/|\*(?!\/))?[ \t]*/g, " ");

const headings = (page: string): string[] => [...page.matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) => text);

/** The anchor of a heading on GitHub. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");

/** `contract N.M`, or a list of them: `contract N.M, N.M`. */
const CITATION = /\b[Cc]ontract (\d+(?:\.\d+)*(?:, \d+(?:\.\d+)*)*)/g;

/** The forms of an earlier specification. A section of an RFC is not one of them. */
const OLD_CITATION = /(?<!RFC \d+, )\b[Ss]ections? \d[\d.]*|\bCONTRACT\.md|\bDESIGN, \w+/g;

const citations = (): string[] =>
  [...codeFiles(), ...filesIn("docs", ".md")].flatMap((path) =>
    [...joinedText(path).matchAll(CITATION)].flatMap(([, list = ""]) =>
      list.split(", ").map((section) => `${path} cites ${section}`),
    ),
  );

test("every cited section is a heading of docs/contract.md", () => {
  const sections = new Set(headings(read("docs/contract.md")).map((heading) => heading.split(" ")[0]));
  const cited = citations();
  expect(cited.length).toBeGreaterThan(0);
  expect(cited.filter((citation) => !sections.has(citation.split(" cites ")[1]))).toEqual([]);
});

test("the code cites no other specification by section", () => {
  const old = codeFiles().flatMap((path) =>
    [...joinedText(path).matchAll(OLD_CITATION)].map(([text]) => `${path}: ${text}`),
  );
  expect(old).toEqual([]);
});

test("docs/contract.md names every RPC of the store service, by its name or by that of the reference's method", () => {
  const page = read("docs/contract.md");
  const snake = (name: string): string => name.replaceAll(/(?<!^)([A-Z])/g, "_$1").toLowerCase();
  const missing = RuntimeStoreService.methods.filter(
    ({ name }) => !page.includes(`\`${name}`) && !page.includes(`\`${snake(name)}`),
  );
  expect(missing.map(({ name }) => name)).toEqual([]);
});

/** Every page of the project, except in folders that hold no pages of ours. */
const pages = (): string[] => [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...filesIn("docs", ".md"),
  ...readdirSync(join(ROOT, "packages"))
    .map((name) => join("packages", name, "README.md"))
    .filter((path) => existsSync(join(ROOT, path))),
];

test("every link between pages leads to a file and a heading", () => {
  const links = pages().flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)].map(([link, path = "", anchor]) => ({
      link: `${page}: ${link}`,
      target: path === "" ? page : join(dirname(page), path),
      anchor,
    })),
  );
  const isBroken = ({ target, anchor }: { readonly target: string; readonly anchor: string | undefined }): boolean =>
    !existsSync(join(ROOT, target)) || (anchor !== undefined && !headings(read(target)).map(anchorOf).includes(anchor));
  expect(links.length).toBeGreaterThan(0);
  expect(links.filter(isBroken).map(({ link }) => link)).toEqual([]);
});

test("the contents of docs/contract.md list every section in order", () => {
  const page = read("docs/contract.md");
  const listed = [...page.matchAll(/^ *- \[(\d.*)\]\(#/gm)].map(([, text]) => text);
  expect(listed).toEqual(headings(page).filter((heading) => /^\d/.test(heading)));
});
