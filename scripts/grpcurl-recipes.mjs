// Runs every recipe of docs/grpcurl.md as it is written there, over the socket and over TCP, compares what it prints with
// the text below it, and then runs scripts/turn.sh. With --install, fetches the pinned grpcurl into .tools/bin first.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findTool, hasGo, installTool } from "./go-tool.mjs";

const GRPCURL = {
  name: "grpcurl",
  module: "github.com/fullstorydev/grpcurl",
  folder: "cmd/grpcurl",
  version: "v1.9.4",
};
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const DAEMON = join(ROOT, "packages", "daemon", "dist", "cli", "main.js");
const DOCUMENT = join(ROOT, "docs", "grpcurl.md");
const WAYS = ["socket", "tcp"];
const START_MS = 30_000;
const RUN_MS = 180_000;
/** Follows each recipe's output, with its exit status. */
const MARK = "@@ end of recipe, status";

// --- the document ---

/** Every fenced block, with its info string, its first line's number and the heading above it. */
function fencedBlocks(markdown) {
  const blocks = [];
  let heading = "";
  let open;
  for (const [index, line] of markdown.split("\n").entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (!open && fence) open = { info: fence[1].trim(), line: index + 2, heading, lines: [] };
    else if (open && fence) {
      blocks.push(open);
      open = undefined;
    } else if (open) open.lines.push(line);
    else if (line.startsWith("#")) heading = line.replace(/^#+ */, "");
  }
  return blocks.map(({ lines, ...block }) => ({ ...block, text: lines.join("\n") }));
}

/** Each `sh` block, with the `text` block that comes next as what it prints. `sh socket` runs over the socket only. */
function recipesOf(markdown) {
  const blocks = fencedBlocks(markdown);
  return blocks.flatMap(({ info, text, line, heading }, index) => {
    const [language, way] = info.split(" ");
    if (language !== "sh") return [];
    const next = blocks[index + 1];
    const expected = next?.info === "text" ? next.text : undefined;
    return [{ name: `${heading}, line ${line}`, ways: way ? [way] : WAYS, command: text, expected }];
  });
}

const namesOfRpcs = () =>
  ["store", "admin"].flatMap((file) => {
    const proto = readFileSync(join(ROOT, "proto", "bolthole", "v1", `${file}.proto`), "utf8");
    return [...proto.matchAll(/^ {2}rpc (\w+)\(/gm)].map(([, name]) => name);
  });

/** The RPCs that no recipe calls. */
function rpcsWithoutRecipe(recipes) {
  const commands = recipes.map(({ command }) => command).join("\n");
  return namesOfRpcs().filter((name) => !new RegExp(`/${name}\\b`).test(commands));
}

// --- running ---

/** Indentation and blank lines say nothing. */
const squeeze = (text) =>
  text
    .split("\n")
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter(Boolean)
    .join("\n");

/** `<...>` in the expected text stands for anything within its line. */
function isAsExpected(got, expected) {
  const pattern = squeeze(expected)
    .split(/<[^<>\n]+>/)
    .map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"))
    .join("[^\\n]+?");
  return new RegExp(`^${pattern}$`).test(squeeze(got));
}

/** What is wrong with one recipe's outcome, or nothing. grpcurl's own refusals begin in one of two ways. */
function faultOf({ expected = "" }, outcome) {
  const mustFail = /^(ERROR:|Failed )/.test(expected);
  const isStatusRight = mustFail ? outcome.status > 0 : outcome.status === 0;
  if (isStatusRight && isAsExpected(outcome.output, expected)) return undefined;
  return `expected ${mustFail ? "a failure" : "status 0"}:\n${expected}\ngot status ${outcome.status}:\n${outcome.output}`;
}

/** The environment of everything that is started: grpcurl and this Node first, no settings for the daemon. */
function environment(grpcurl) {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("BOLTHOLE_"));
  const path = [dirname(grpcurl), dirname(process.execPath), process.env.PATH].join(delimiter);
  return { ...Object.fromEntries(own), PATH: path, GRPCURL: grpcurl };
}

/** Runs a shell to its end, or ends it and its children when that takes too long. Answers its status and its output. */
function shell(args, { cwd, env, input }) {
  const child = spawn("sh", args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const timer = setTimeout(() => process.kill(-child.pid, "SIGKILL"), RUN_MS);
  child.stdin.on("error", () => undefined).end(input);
  return new Promise((done) => {
    child.on("close", (status) => {
      clearTimeout(timer);
      done({ status, output });
    });
  });
}

/** Starts a daemon on both ways in, with its data in `.bolthole` of the folder. */
async function startDaemon(folder, env) {
  const args = [DAEMON, "serve", "--data", ".bolthole", "--listen", "127.0.0.1:0"];
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  const ended = new Promise((done) => child.on("close", done));
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), START_MS);
    const status = await ended;
    clearTimeout(late);
    return status;
  };
  const until = Date.now() + START_MS;
  while (!existsSync(join(folder, ".bolthole", "endpoint"))) {
    if (child.exitCode === null && Date.now() < until) {
      await sleep(50);
      continue;
    }
    await stop();
    throw new Error(`the daemon did not start:\n${log}`);
  }
  return stop;
}

/** All recipes in one shell, top to bottom, each followed by the mark. Status NaN: the shell ended before or within it. */
async function outcomesOf(recipes, folder, env) {
  const script = recipes.map(({ command }) => `${command}\nprintf '\\n${MARK} %s\\n' $?\n`).join("");
  const { output } = await shell(["-c", `exec 2>&1\n${script}`], { cwd: folder, env, input: "" });
  const parts = output.split(new RegExp(`^${MARK} (\\d+)\\n`, "m"));
  return recipes.map((_, index) => ({ output: parts[2 * index] ?? "", status: Number(parts[2 * index + 1]) }));
}

async function inFreshFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-recipes-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The recipes over one way in, on a store of their own. */
const checkRecipes = (way, recipes, env) =>
  inFreshFolder(async (folder) => {
    const stop = await startDaemon(folder, env);
    const mine = recipes.filter(({ ways }) => ways.includes(way));
    const outcomes = await outcomesOf(mine, folder, env);
    const checks = mine.map((recipe, index) => ({
      name: `${recipe.name}, over ${way}`,
      fault: faultOf(recipe, outcomes[index]),
    }));
    const status = await stop();
    const fault = status === 0 ? undefined : `expected status 0\ngot ${status}`;
    return [...checks, { name: `the daemon's clean stop, over ${way}`, fault }];
  });

async function checkTurn(signal, env) {
  const { status, output } = await shell([join(ROOT, "scripts", "turn.sh"), signal], { cwd: ROOT, env, input: "" });
  const fault = status === 0 ? undefined : `expected status 0\ngot ${status}:\n${output}`;
  return { name: `scripts/turn.sh ${signal}`, fault };
}

async function checkAll(env) {
  const recipes = recipesOf(readFileSync(DOCUMENT, "utf8"));
  const missing = rpcsWithoutRecipe(recipes);
  const fault = missing.length === 0 ? undefined : `without one: ${missing.join(", ")}`;
  const checks = [{ name: "a recipe for each RPC", fault }];
  for (const way of WAYS) checks.push(...(await checkRecipes(way, recipes, env)));
  for (const signal of ["TERM", "KILL"]) checks.push(await checkTurn(signal, env));
  return checks;
}

// --- the whole ---

async function main() {
  const mayInstall = process.argv.includes("--install") && hasGo();
  if (mayInstall && !installTool(GRPCURL)) console.log("the pinned grpcurl could not be installed");
  const grpcurl = findTool(GRPCURL.name);
  if (!grpcurl) {
    console.log(
      `grpcurl is absent: no recipe was run. ${mayInstall ? "" : "With Go installed, --install fetches it."}`,
    );
    console.log(mayInstall ? "0 passed, 1 failed" : "0 passed, 0 failed, 1 skipped");
    return mayInstall ? 1 : 0;
  }
  const checks = await checkAll(environment(grpcurl));
  const failed = checks.filter(({ fault }) => fault !== undefined);
  for (const { name, fault } of failed) console.log(`FAILED: ${name}\n${fault}\n`);
  console.log(`${checks.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = await main();
