import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FINDING_CODES, type FindingCode } from "@bolthole/contract";
import type { ScrubMemory, ScrubNote } from "@bolthole/core";

const FILE = "scrub";

const count = z.number().nonnegative();
const finding = z.object({
  code: z.enum(Object.keys(FINDING_CODES) as [FindingCode, ...FindingCode[]]),
  runtimeId: z.string().optional(),
  record: z.string().optional(),
  text: z.string(),
});
const pass = z.object({
  startedAt: count,
  runtimes: count,
  bytes: count,
  findingCount: count,
  findings: z.array(finding),
});
const note = z.object({
  storeId: z.string(),
  passes: count,
  current: pass.extend({ after: z.string().optional() }).optional(),
  last: pass.extend({ endedAt: count }).optional(),
});

/**
 * How far the scrub of a store has come, in a small file. It is no row of the store: that would be a commit, and a flush, for
 * something that only saves work. A file that is lost, torn, or of another store costs a pass from the beginning.
 */
export function scrubFile(folder: string, storeId: string): ScrubMemory {
  const path = join(folder, FILE);
  return {
    load() {
      try {
        const { storeId: of, ...kept } = note.parse(JSON.parse(readFileSync(path, "utf8")));
        return of === storeId ? kept : undefined;
      } catch {
        return undefined;
      }
    },
    save(kept: ScrubNote) {
      const draft = `${path}.new`;
      try {
        writeFileSync(draft, JSON.stringify({ storeId, ...kept }), { mode: 0o600 });
        renameSync(draft, path);
      } catch {
        // A full disk is for the store's own work to tell of.
      }
    },
  };
}
