// Fails when the generated files differ from the output of `pnpm generate`: packages/contract/src/gen for proto/, and
// packages/json/schemas for the shape tables of packages/json.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run } from "./pnpm.mjs";

const fresh = mkdtempSync(join(tmpdir(), "bolthole-gen-"));
process.on("exit", (code) => {
  rmSync(fresh, { recursive: true, force: true });
  if (code !== 0) console.error("the generated files are not current: run pnpm generate, and commit the result");
});
run(join(ROOT, "node_modules/.bin/buf"), ["generate", "--output", fresh]);
run("node", ["scripts/generate-schemas.mjs", "--output", fresh]);
for (const folder of ["packages/contract/src/gen", "packages/json/schemas"])
  run("diff", ["-r", join(fresh, folder), join(ROOT, folder)]);
