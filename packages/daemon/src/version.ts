import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Of the daemon's package. */
export const VERSION = (
  JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as { readonly version: string }
).version;
