import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const OURS = join(__dirname, "..", "..", "..", "..", ".tools", "bin");

/** The path of a program that is not ours to install by npm: from `.tools/bin`, else from the PATH, else nothing. */
export const findTool = (name: string): string | undefined =>
  [OURS, ...(process.env.PATH ?? "").split(delimiter)]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
