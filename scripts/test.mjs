// `npm test`: installs, checks, builds, and runs every test.
import { install, pnpm } from "./pnpm.mjs";

install();
for (const step of [
  "check:proto",
  "check:breaking",
  "check:generated",
  "build",
  "check:format",
  "check:lint",
  "check:structure",
  "jest",
]) {
  console.log(`\n== ${step}`);
  pnpm("run", "--silent", step);
}
