// Runs every recipe of docs/grpcurl.md over the socket and over TCP, compares the output with the text below the recipe, and then
// runs scripts/turn.sh. With --install, installs the pinned grpcurl into .tools/bin first. The variable GRPCURL selects another one.
import { spawn, spawnSync } from "node:child_process";
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
/** Separates the outputs of two recipes. The exit status of the first one follows. */
const MARK = "@@ end of recipe, status";

// --- the document ---

/** Returns every fenced block with its info string, the number of its first line and the heading above it. */
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

/**
 * Returns each `sh` block with its expected output, which is the `text` block directly after it. `sh socket` runs over the socket only.
 * `sh socket grpcurl-1.9.1` runs only with a grpcurl that does not accept `unix://`.
 */
function recipesOf(markdown, acceptsUnixTarget) {
  const blocks = fencedBlocks(markdown);
  return blocks.flatMap(({ info, text, line, heading }, index) => {
    const [language, way, version] = info.split(" ");
    if (language !== "sh" || (version !== undefined && acceptsUnixTarget)) return [];
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

/** Returns the names of the RPCs that no recipe calls. */
function rpcsWithoutRecipe(recipes) {
  const commands = recipes.map(({ command }) => command).join("\n");
  return namesOfRpcs().filter((name) => !new RegExp(`/${name}\\b`).test(commands));
}

// --- running ---

/** Removes indentation and blank lines. */
const squeeze = (text) =>
  text
    .split("\n")
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter(Boolean)
    .join("\n");

/** Compares the output with the expected text, in which `<...>` stands for any text within its line. */
function isAsExpected(got, expected) {
  const pattern = squeeze(expected)
    .split(/<[^<>\n]+>/)
    .map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"))
    .join("[^\\n]+?");
  return new RegExp(`^${pattern}$`).test(squeeze(got));
}

/** Returns the fault of a recipe's outcome, or undefined. The output of a failed grpcurl call starts in one of two ways. */
function faultOf({ expected = "" }, outcome) {
  const mustFail = /^(ERROR:|Failed )/.test(expected);
  const isStatusRight = mustFail ? outcome.status > 0 : outcome.status === 0;
  if (isStatusRight && isAsExpected(outcome.output, expected)) return undefined;
  return `expected ${mustFail ? "a failure" : "status 0"}:\n${expected}\ngot status ${outcome.status}:\n${outcome.output}`;
}

/** Returns the environment of all child processes: grpcurl and this Node are first in PATH, and no variable configures the daemon. */
function environment(grpcurl) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("BOLTHOLE_"));
  const path = [dirname(grpcurl), dirname(process.execPath), process.env.PATH].join(delimiter);
  return { ...Object.fromEntries(inherited), PATH: path, GRPCURL: grpcurl };
}

/** Returns whether this grpcurl accepts a `unix://` target: 1.9.2 and later do, earlier ones look it up as a TCP address. */
function acceptsUnixTargets(grpcurl) {
  const args = ["-plaintext", "-connect-timeout", "1", "unix:///missing.sock", "list"];
  return !spawnSync(grpcurl, args, { encoding: "utf8" }).stderr.includes("lookup tcp");
}

/** Runs a shell and returns its status and output. Ends it and its children when it takes too long. */
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

/** Starts a daemon on the socket and on TCP, with its data in `.bolthole` of the folder. Returns its output and a function that stops it. */
async function startDaemon(folder, env) {
  const args = [DAEMON, "serve", "--data", ".bolthole", "--listen", "127.0.0.1:0"];
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let log = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
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
  return { stop, output: () => output };
}

/** Runs all recipes in one shell and returns their outcomes. The status is NaN when the shell ended before the end of the recipe. */
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

/** Runs the grpcurl command that the daemon printed at its start. */
async function checkPrintedCommand(text, folder, env) {
  const [, command = "false"] = /^try .*: (grpcurl .*)$/m.exec(text) ?? [];
  const outcome = await shell(["-c", command], { cwd: folder, env, input: "" });
  const isRight = outcome.status === 0 && outcome.output.includes('"storeId"');
  return { name: "the command that the daemon prints", fault: isRight ? undefined : `${text}${outcome.output}` };
}

/** Runs the recipes over the socket or over TCP, on a new store. */
const checkRecipes = (way, recipes, acceptsUnixTarget, env) =>
  inFreshFolder(async (folder) => {
    const { stop, output } = await startDaemon(folder, env);
    const selected = recipes.filter(({ ways }) => ways.includes(way));
    const outcomes = await outcomesOf(selected, folder, env);
    const checks = selected.map((recipe, index) => ({
      name: `${recipe.name}, over ${way}`,
      fault: faultOf(recipe, outcomes[index]),
    }));
    if (acceptsUnixTarget && way === "socket") checks.push(await checkPrintedCommand(output(), folder, env));
    const status = await stop();
    const fault = status === 0 ? undefined : `expected status 0\ngot ${status}`;
    return [...checks, { name: `clean stop of the daemon, over ${way}`, fault }];
  });

async function checkTurn(signal, env) {
  const { status, output } = await shell([join(ROOT, "scripts", "turn.sh"), signal], { cwd: ROOT, env, input: "" });
  const fault = status === 0 ? undefined : `expected status 0\ngot ${status}:\n${output}`;
  return { name: `scripts/turn.sh ${signal}`, fault };
}

async function checkAll(grpcurl) {
  const env = environment(grpcurl);
  const acceptsUnixTarget = acceptsUnixTargets(grpcurl);
  const recipes = recipesOf(readFileSync(DOCUMENT, "utf8"), acceptsUnixTarget);
  const missing = rpcsWithoutRecipe(recipes);
  const fault = missing.length === 0 ? undefined : `without a recipe: ${missing.join(", ")}`;
  const checks = [{ name: "a recipe for each RPC", fault }];
  for (const way of WAYS) checks.push(...(await checkRecipes(way, recipes, acceptsUnixTarget, env)));
  for (const signal of ["TERM", "KILL"]) checks.push(await checkTurn(signal, env));
  return checks;
}

// --- main ---

async function main() {
  const mayInstall = process.argv.includes("--install") && hasGo();
  if (mayInstall && !installTool(GRPCURL)) console.log("the pinned grpcurl could not be installed");
  const grpcurl = process.env.GRPCURL ?? findTool(GRPCURL.name);
  if (!grpcurl) {
    const advice = mayInstall ? "" : " When Go is installed, --install installs it.";
    console.log(`there is no grpcurl, so no recipe was run.${advice}`);
    console.log(mayInstall ? "0 passed, 1 failed" : "0 passed, 0 failed, 1 skipped");
    return mayInstall ? 1 : 0;
  }
  const checks = await checkAll(grpcurl);
  const failed = checks.filter(({ fault }) => fault !== undefined);
  for (const { name, fault } of failed) console.log(`FAILED: ${name}\n${fault}\n`);
  console.log(`${checks.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = await main();
