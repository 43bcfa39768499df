import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** The beginning of the names of folders in which copies of a data file are made. */
const PREFIX = "backup.";

/** Creates a folder for a copy of the data file beside it, and returns its path. */
export const newScratchFolder = (folder: string): string => mkdtempSync(join(folder, PREFIX));

/** Deletes unfinished copies of this process, or of one that has crashed, in a data folder. */
export function removeScratchFolders(folder: string): void {
  for (const name of readdirSync(folder)) if (name.startsWith(PREFIX)) removeScratchFolder(join(folder, name));
}

/** Deletes one copy. LMDB may be creating its file in the folder at the same time. */
export function removeScratchFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 5 });
}
