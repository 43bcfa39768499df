// Writes packages/json/schemas from the shape tables of packages/json: part of `pnpm generate`.
//
//   node scripts/generate-schemas.mjs [--output FOLDER]      writes it into a folder instead of the checkout
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { format, resolveConfig } from "prettier";
import { ROOT, run } from "./pnpm.mjs";

const { output } = parseArgs({ options: { output: { type: "string", default: ROOT } } }).values;

run("node", ["node_modules/typescript/bin/tsc", "-b", "packages/json"]);
const { schemaFiles } = await import("../packages/json/dist/schema/files.js");

const style = await resolveConfig(join(ROOT, "packages/json/schemas/any.json"));
const folder = join(output, "packages/json/schemas");
rmSync(folder, { recursive: true, force: true });
for (const { path, text } of schemaFiles()) {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, await format(text, { ...style, parser: "json" }));
}
