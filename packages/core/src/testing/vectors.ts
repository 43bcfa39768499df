import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Returns the cases of one file of recorded vectors, or undefined if there are no vectors beside the project. */
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
