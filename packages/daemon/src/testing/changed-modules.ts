import { writeFileSync } from "node:fs";

/**
 * Writes a script that changes the exports of modules, and returns the environment of a process that loads it first. `change` is code
 * that sees the name of a module as `request` and its exports as `exports`.
 */
export function environmentWithChange(script: string, change: string): NodeJS.ProcessEnv {
  writeFileSync(
    script,
    `const Module = require("node:module");
     const load = Module._load;
     Module._load = (request, ...rest) => {
       const exports = load(request, ...rest);
       ${change}
       return exports;
     };`,
  );
  return { NODE_OPTIONS: `--require ${script}` };
}
