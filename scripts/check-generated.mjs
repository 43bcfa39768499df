// Fails when packages/contract/src/gen differs from the output of `pnpm generate` for proto/.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run } from "./pnpm.mjs";

const fresh = mkdtempSync(join(tmpdir(), "bolthole-gen-"));
process.on("exit", (code) => {
  rmSync(fresh, { recursive: true, force: true });
  if (code !== 0) console.error("the generated code does not match proto/: run pnpm generate, and commit the result");
});
run(join(ROOT, "node_modules/.bin/buf"), ["generate", "--output", fresh]);
run("diff", ["-r", join(fresh, "packages/contract/src/gen"), join(ROOT, "packages/contract/src/gen")]);
