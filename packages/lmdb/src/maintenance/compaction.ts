import { renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Finding, type StoreCounts, isDamageFinding } from "@bolthole/contract";
import { diskErrno, openFailure } from "../disk-errors.js";
import { Environment } from "../environment.js";
import { claimFormat } from "../format.js";
import { DamagedStoreError, flushPath } from "./check.js";
import { checkInProcess } from "./check-process.js";
import { newScratchFolder, removeScratchFolder, removeScratchFolders } from "./scratch-folder.js";

export interface Compaction {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** The number of damaged rows, which stay as they are. */
  readonly damaged: number;
  readonly counts: StoreCounts | undefined;
}

export interface CompactionListener {
  /** Called with the number of bytes that were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
  /** Called with the function that removes what was made, for the end of the process by a signal. Returns the function that forgets it. */
  readonly onScratch?: ((discard: () => void) => () => void) | undefined;
}

/** The name of the data file in its folder. */
const DATA_FILE = "data.mdb";

/**
 * Replaces the data file of a store by one that has only what is stored: neither free pages nor the bytes of deleted records. No process may
 * have the store open. The new file is checked, and must have the same rows, before it takes the place of the old one in one step. Throws a
 * DamagedStoreError when the pages of the store are damaged, an UnusableFolderError, or an error of the operating system.
 */
export async function compactStore(folder: string, listener: CompactionListener = {}): Promise<Compaction> {
  try {
    claimFormat(folder);
    removeScratchFolders(folder);
    const bytesBefore = statSync(join(folder, DATA_FILE)).size;
    const before = await checked(folder, listener);
    const broken = before.findings.find(({ code }) => code === "pages-damaged" || code === "check-crashed");
    if (broken) throw new DamagedStoreError(folder, `${broken.text} (${broken.code})`);
    const scratch = newScratchFolder(folder);
    const forget = listener.onScratch?.(() => {
      removeScratchFolder(scratch);
    });
    try {
      await copyCompacted(folder, scratch);
      const after = await checked(scratch, listener);
      const [expected, found] = [before, after].map((result) => JSON.stringify(result));
      if (expected !== found) {
        throw new Error(
          `the compacted store differs from the store, which was not changed: ${String(expected)}, ${String(found)}`,
        );
      }
      await takePlace(scratch, folder);
      const damaged = before.findings.filter(isDamageFinding).length;
      return { bytesBefore, bytesAfter: statSync(join(folder, DATA_FILE)).size, damaged, counts: before.counts };
    } finally {
      removeScratchFolder(scratch);
      forget?.();
    }
  } catch (error) {
    throw diskErrno(error) === undefined ? error : openFailure(folder, error);
  }
}

/** Compacts a data file whose pages are known to be undamaged, and that no process has open: a copy of a store. */
export async function compactCopy(folder: string): Promise<void> {
  const scratch = newScratchFolder(folder);
  try {
    await copyCompacted(folder, scratch);
    await takePlace(scratch, folder);
  } finally {
    removeScratchFolder(scratch);
  }
}

async function copyCompacted(folder: string, scratch: string): Promise<void> {
  const environment = new Environment(folder);
  try {
    await environment.copyTo(scratch, "compact");
  } finally {
    await environment.close();
  }
}

async function takePlace(scratch: string, folder: string): Promise<void> {
  await flushPath(join(scratch, DATA_FILE));
  // The table of readers belongs to the old file.
  rmSync(join(folder, "lock.mdb"), { force: true });
  renameSync(join(scratch, DATA_FILE), join(folder, DATA_FILE));
  await flushPath(folder);
}

interface Checked {
  readonly findings: readonly Finding[];
  readonly counts: StoreCounts | undefined;
  readonly commitSequence: number | undefined;
}

/** Checks everything in a folder. Findings of free or unfinished space are left out: compaction removes it. */
async function checked(folder: string, { onRead }: CompactionListener): Promise<Checked> {
  const findings: Finding[] = [];
  const onFinding = (finding: Finding): void => {
    if (isDamageFinding(finding)) findings.push(finding);
  };
  const { counts, commitSequence } = await checkInProcess({ folder, pages: true, rows: true }, { onFinding, onRead });
  return { findings, counts, commitSequence };
}
