// `pnpm build`: compiles every package, then removes compiled files whose source is gone, so that a deleted test does not
// run and a deleted module cannot be imported.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run } from "./pnpm.mjs";

run("node", ["node_modules/typescript/bin/tsc", "-b"]);

const COMPILED = /\.(js|d\.ts)(\.map)?$/;
const packages = join(ROOT, "packages");
for (const name of readdirSync(packages)) {
  const dist = join(packages, name, "dist");
  if (!existsSync(dist)) continue;
  for (const file of readdirSync(dist, { recursive: true })) {
    if (!COMPILED.test(file)) continue;
    const source = file.replace(COMPILED, ".ts");
    if (!existsSync(join(packages, name, "src", source))) rmSync(join(dist, file));
  }
}
