import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** The beginning of the names of folders in which copies of a data file are made. */
const PREFIX = "backup.";

/** Creates a folder for a copy of the data file beside it, and returns its path. */
export const newScratchFolder = (folder: string): string => mkdtempSync(join(folder, PREFIX));

/** Deletes unfinished copies of this process, or of one that has crashed, in a data folder. */
export function removeScratchFolders(folder: string): void {
  for (const name of readdirSync(folder)) if (name.startsWith(PREFIX)) removeFolderInUse(join(folder, name));
}

/** The threads of libuv and LMDB have at most a few files to create. Each can fail one attempt. */
const ATTEMPTS = 20;

/**
 * Deletes a folder in which another thread of this process may be creating a file: a call that began before a signal came cannot be
 * stopped, and LMDB creates files on threads of its own. `rmSync` reads the names in the folder only once, whatever its `maxRetries`, and fails when a name is added after that.
 */
export function removeFolderInUse(path: string): void {
  for (let attempt = 1; ; attempt += 1) {
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOTEMPTY" || attempt === ATTEMPTS) throw error;
    }
  }
}
