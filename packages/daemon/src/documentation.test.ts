import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, fromJson } from "@bufbuild/protobuf";
import * as client from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { FINDING_CODES } from "@bolthole/contract";
import { AdminService, RuntimeStoreService, storeCodecs } from "@bolthole/contract/wire";
import type { Command } from "commander";
import { createProgram } from "./cli/program.js";
import { SETTINGS, type SettingName, flagOf, helpOf, variableOf } from "./config.js";
import { EXIT } from "./exit-code.js";
import { MAIN } from "./testing/daemons.js";

const ROOT = join(__dirname, "..", "..", "..");
const EXAMPLES = "packages/json/schemas/examples";
const page = (name: string): string => readFileSync(join(ROOT, name), "utf8");

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
}

/** Returns the cells of every table row of a page, without backticks. */
const rowsOf = (text: string): string[][] =>
  text
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    );

test("docs/operating.md lists every setting with its variable, default and help text", () => {
  const rows = rowsOf(page("docs/operating.md"));
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const row = rows.find(([flag]) => flag === `--${flagOf(name)}`);
    expect(row?.[1]).toBe(variableOf(name));
    if (name !== "data") expect([name, row?.[2]]).toEqual([name, SETTINGS[name].fallback() ?? "none"]);
    // The page may say more than the help text.
    expect([name, row?.[3]?.slice(0, helpOf(name).length)]).toEqual([name, helpOf(name)]);
  }
});

/** Returns the commands of the program that have an action, with their full names, such as `import meerkat`. */
const commandsOf = (command: Command, name = ""): [string, Command][] =>
  command.commands.length === 0
    ? [[name, command]]
    : command.commands.flatMap((one) => commandsOf(one, `${name} ${one.name()}`.trim()));

/** Returns a command with its arguments in capitals, such as `bolthole backup FILE`. */
const usageOf = ([name, command]: [string, Command]): string =>
  ["bolthole", name, ...command.registeredArguments.map((argument) => argument.name().toUpperCase())].join(" ");

test("docs/operating.md lists every command with exactly its arguments and options", () => {
  const rows = rowsOf(page("docs/operating.md"));
  const expected = commandsOf(createProgram()).map(([name, command]) => {
    const options = name === "serve" ? ["all settings"] : command.options.map(({ long }) => long);
    return [usageOf([name, command]), options.join(", ")];
  });
  const documented = rows
    .filter(([cell = ""]) => cell.startsWith("bolthole "))
    .map(([name, options]) => [name, options]);
  expect(documented).toEqual(expected);
});

test("the README of the package lists every command", () => {
  const documented = rowsOf(page("packages/daemon/README.md")).flatMap(([cell = ""]) =>
    cell.startsWith("bolthole ") ? [cell] : [],
  );
  expect(documented).toEqual(commandsOf(createProgram()).map(usageOf));
});

test("docs/operating.md or docs/moving.md mentions every option of every command", () => {
  const text = page("docs/operating.md") + page("docs/moving.md");
  const program = createProgram();
  const options = [program, ...commandsOf(program).map(([, command]) => command)].flatMap((command) => [
    ...command.options.map(({ long }) => long ?? ""),
    "--help",
  ]);
  expect([...new Set(options)].filter((option) => !new RegExp(`(?<![\\w-])${option}(?![\\w-])`).test(text))).toEqual(
    [],
  );
});

test("docs/grpcurl.md has a recipe for every RPC", () => {
  const recipes = [...page("docs/grpcurl.md").matchAll(/```sh[^\n]*\n([^]*?)```/g)]
    .map(([, commands]) => commands)
    .join("");
  const rpcs = [RuntimeStoreService, AdminService].flatMap(({ methods }) => methods.map(({ name }) => name));
  expect(rpcs.filter((name) => !new RegExp(`/${name}\\b`).test(recipes))).toEqual([]);
});

test("docs/operating.md lists every exit code", () => {
  const codes = rowsOf(page("docs/operating.md")).flatMap(([cell = ""]) => (/^\d+$/.test(cell) ? [Number(cell)] : []));
  expect(codes).toEqual(Object.values(EXIT));
});

test("docs/operating.md lists every finding of a check", () => {
  const [, table = ""] = page("docs/operating.md").split("## Checking");
  const named = rowsOf(table.split("\n## ")[0] ?? "").map(([code]) => code);
  expect(named.slice(2).sort()).toEqual(Object.keys(FINDING_CODES).sort());
});

test("CONTRIBUTING.md gives a reason for exactly the dependencies of all packages", () => {
  const folders = ["", ...readdirSync(join(ROOT, "packages")).map((name) => `packages/${name}`)].filter((folder) =>
    existsSync(join(ROOT, folder, "package.json")),
  );
  const used = new Set<string>();
  for (const folder of folders) {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(page(join(folder, "package.json"))) as Manifest;
    for (const name of [...Object.keys(dependencies), ...Object.keys(devDependencies)]) {
      if (!name.startsWith("@bolthole/") && !name.startsWith("@types/")) used.add(name);
    }
  }
  const [, section = ""] = page("CONTRIBUTING.md").split("## Dependencies");
  const [table = "", ofGo = ""] = section.split("\n### The Go client");
  const [, required = ""] = /^require \(\n([^)]*)\)/m.exec(page("packages/client-go/go.mod")) ?? [];
  expect(required).toContain("google.golang.org/grpc ");
  for (const [, module = "", version = ""] of required.matchAll(/^\t(\S+) v(\S+)$/gm)) {
    expect(rowsOf(ofGo).find(([name]) => name === module)?.[1]).toBe(version);
  }
  const named = rowsOf(table).flatMap(([cell = ""]) => cell.split(", "));
  expect(named.filter((name) => !name.startsWith("-") && name !== "package").sort()).toEqual([...used].sort());
});

test("the patch of the example in docs/sessions.md produces the documented result", async () => {
  const [, before = "", after = "", text = ""] =
    /Stored, at version V:\n\n```text\n(.*)\n```\n\nThe new document:\n\n```text\n(.*)\n```[^]*?```json\n([^]*?)```/.exec(
      page("docs/sessions.md"),
    ) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "bolthole-sessions-"));
  const daemon = await new DaemonProcess({
    main: MAIN,
    data: join(folder, "data"),
  }).start();
  const store = await client.connect(daemon.target);
  try {
    const sessionSnapshot = Buffer.from(before);
    const first = { runtimeId: "rt", sessionDelta: { sessionSnapshot, profile: "opaque" } } as const;
    const { version } = await store.versioned.commitSessionSnapshot(first);
    const patch = { ...(JSON.parse(text) as JsonObject), base_version: version };
    const { method, decodeRequest } = storeCodecs.commitSessionSnapshot;
    const message = fromJson(method.input, { runtime_id: "rt", session_delta: { patch } });
    await store.versioned.commitSessionSnapshot(decodeRequest(message));
    expect(Buffer.from((await store.loadSessionSnapshot("rt")) ?? []).toString()).toBe(after);
  } finally {
    await store.close();
    await daemon.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** The mutations that the examples of docs/documents.md belong to. */
type ExampleCall =
  "commitSessionSnapshot" | "persistInputState" | "commitMachineLifecycle" | "persistOpsLifecycle" | "atomicApply";

test("a daemon accepts the examples of docs/documents.md", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-documents-"));
  const daemon = await new DaemonProcess({ main: MAIN, data: join(folder, "data") }).start();
  const store = await client.connect(daemon.target);
  const examples = new Map(
    readdirSync(join(ROOT, EXAMPLES)).map((file) => [file.replace(".json", ""), page(join(EXAMPLES, file))]),
  );
  const example = (name: string): string => examples.get(name) ?? "";
  const parsed = (name: string): JsonObject => JSON.parse(example(name)) as JsonObject;
  const all = (prefix: string): JsonObject[] =>
    [...examples.keys()].filter((one) => one.startsWith(prefix)).map(parsed);
  const commit = async (name: ExampleCall, request: JsonObject): Promise<void> => {
    const { method, decodeRequest } = storeCodecs[name];
    const model = decodeRequest(fromJson(method.input, { runtime_id: "rt", ...request }) as never);
    await store.versioned[name](model as never);
  };
  try {
    const [, opaque = ""] = /```json\n([^]*?)```/.exec(page("docs/documents.md")) ?? [];
    await commit("commitSessionSnapshot", JSON.parse(opaque) as JsonObject);
    expect(Buffer.from((await store.loadSessionSnapshot("other")) ?? []).toString()).toBe("any text");
    await store.commitSessionSnapshot("empty", { sessionSnapshot: Buffer.alloc(0), profile: "opaque" });

    const history = { session_transcript_history_state_v1: parsed("transcript-history") };
    const messages = all("message-");
    expect(messages).toHaveLength(6);
    for (const members of [{}, { messages }, { metadata: history }]) {
      const session_json = JSON.stringify({ ...parsed("session"), ...members });
      await commit("commitSessionSnapshot", { session_delta: { session_json } });
    }
    const payloads = all("input-payload-");
    expect(payloads).toHaveLength(6);
    for (const persisted_input of [null, ...payloads]) {
      const state_json = JSON.stringify({ ...parsed("input-row"), persisted_input });
      await commit("persistInputState", { state: { state_json } });
    }
    await commit("commitMachineLifecycle", { record_json: example("lifecycle-record") });
    await commit("persistOpsLifecycle", { ops_delta: { ops_json: example("operation-snapshot") } });
    await commit("atomicApply", { receipt: { receipt_json: example("receipt") } });
  } finally {
    await store.close();
    await daemon.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the example of the README runs unchanged", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-readme-"));
  const daemon = await new DaemonProcess({ main: MAIN, data: join(folder, "data") }).start();
  try {
    const [, example = ""] = /```js\n([^]*?)```/.exec(page("README.md")) ?? [];
    expect(example).toContain('import { connect } from "@bolthole/client";');
    const script = example
      .replace('import { connect } from "@bolthole/client";', "")
      .replace("unix:.bolthole/bolthole.sock", daemon.target);
    const printed: unknown[] = [];
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the text is the README of this repository
    const run = new Function("connect", "console", `return (async () => {${script}})()`) as (
      connect: typeof client.connect,
      console: { log(value: unknown): void },
    ) => Promise<void>;
    await run(client.connect, { log: (value) => printed.push(value) });
    expect(printed).toEqual([[]]);
  } finally {
    await daemon.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each(["docs/durability.md", "docs/mistakes.md", "docs/security.md", "docs/evidence/dependencies.md"])(
  "the files that the tables of %s name are there",
  (name) => {
    const named = rowsOf(page(name)).flatMap((cells) => cells.join(" ").match(/[\w-]+\/src\/[\w./-]+\.ts/g) ?? []);
    expect(named).not.toEqual([]);
    expect(named.filter((file) => !existsSync(join(ROOT, "packages", file)))).toEqual([]);
  },
);
