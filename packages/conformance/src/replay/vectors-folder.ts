import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/** The golden vectors beside the project, looked for upwards from a folder inside it; undefined where there are none. */
export function vectorsFolder(inside: string): string | undefined {
  for (let folder = inside; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, "pnpm-workspace.yaml"))) continue;
    const vectors = join(folder, "..", "shared", "vectors");
    return existsSync(vectors) ? vectors : undefined;
  }
  return undefined;
}
