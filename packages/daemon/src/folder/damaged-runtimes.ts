import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Finding } from "@bolthole/contract";
import { EXIT, StartupError } from "../exit-code.js";
import { finding, replaceFileDurably } from "./state-files.js";

const DAMAGED_RUNTIMES_FILE = "damaged-runtimes";

/** Keeps the findings for which runtimes are refused, one for each runtime. */
export interface DamagedRuntimesFile {
  load(): readonly Finding[];
  /** Returns when the findings are durable. Throws the error of the operating system. */
  save(findings: readonly Finding[]): void;
}

const contents = z.object({ storeId: z.string(), findings: z.array(finding) });

/**
 * Returns the file that keeps the damaged runtimes of one store. It is beside the store and not inside, because a store that is
 * full or damaged takes no row. Each check of the whole store finds the same runtimes again.
 */
export function damagedRuntimesFile(folder: string, storeId: string): DamagedRuntimesFile {
  const path = join(folder, DAMAGED_RUNTIMES_FILE);
  return {
    load() {
      if (!existsSync(path)) return [];
      // Outside of the block: a file that this user may not read is no other file, and must not be deleted.
      const text = readFileSync(path, "utf8");
      try {
        const { storeId: writtenFor, findings } = contents.parse(JSON.parse(text));
        return writtenFor === storeId ? findings : [];
      } catch (cause) {
        throw new StartupError(
          EXIT.DATA_FOLDER,
          `expected the list of damaged runtimes in ${path}, found something else. ` +
            "Delete the file, and start once with --check full, which finds the damaged runtimes again",
          cause,
        );
      }
    },
    save(findings) {
      replaceFileDurably(path, JSON.stringify({ storeId, findings }), folder);
    },
  };
}
