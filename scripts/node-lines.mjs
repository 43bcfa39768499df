// Runs tests with real processes on the oldest and the newest supported version of Node. The versions are installed into .tools
// from the registry, where each is a package. Arguments replace the list of tests.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run } from "./pnpm.mjs";

/** The oldest version that package.json allows. */
const OLDEST = /\d+\.\d+/.exec(JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).engines.node)[0];
const VERSIONS = [`${OLDEST}.0`, "26.12.1"];

/** Tests of what differs between versions of Node: signals, streams, timers, files that are replaced, native modules. */
const TESTS = [
  "cli/backup-file",
  "cli/drain",
  "cli/log-output",
  "cli/signals",
  "cli/stalled-log",
  "cli/unchanged-files",
  "failed-start",
  "lost-files",
].map((name) => `packages/daemon/dist/${name}.test.js`);

/** Installs a version and returns the path of its binary. */
function install(version) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(ROOT, ".tools", `node-${version}`);
  const binary = join(folder, "node_modules", name, "bin", "node");
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    // Without a package.json of its own, npm would install into the checkout.
    writeFileSync(join(folder, "package.json"), "{}\n");
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", `${name}@${version}`], {
      cwd: folder,
    });
  }
  return binary;
}

for (const version of VERSIONS) {
  const node = install(version);
  const found = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
  if (found !== `v${version}`) throw new Error(`expected Node ${version} at ${node}, found ${found}`);
  console.log(`\n== Node ${version}`);
  const tests = process.argv.slice(2);
  run(node, [join(ROOT, "node_modules/jest/bin/jest.js"), ...(tests.length > 0 ? tests : TESTS)]);
}
