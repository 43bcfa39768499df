import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The cases of one file of golden vectors beside the project; undefined where there are none. */
export function readVectors(file: string): readonly unknown[] | undefined {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, "pnpm-workspace.yaml"))) continue;
    const path = join(folder, "..", "shared", "vectors", file);
    if (!existsSync(path)) return undefined;
    const lines = readFileSync(path, "utf8").split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as unknown);
  }
  return undefined;
}
