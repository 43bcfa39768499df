import { renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type CompactionResult, type Finding, type StoreCounts, isDamageFinding } from "@bolthole/contract";
import type { CompactionListener } from "@bolthole/core";
import { diskErrno, openFailure, preflightForReading } from "../disk-errors.js";
import { Environment } from "../environment.js";
import { claimFormat } from "../format.js";
import { IDENTITY_KEY } from "../keys.js";
import { DamagedStoreError, flushPath } from "./check.js";
import { checkInProcess } from "./check-process.js";
import { newScratchFolder, removeFolderInUse, removeScratchFolders } from "./scratch-folder.js";

/** The observer of a compaction without a daemon. */
export interface OfflineCompactionListener extends Omit<CompactionListener, "signal"> {
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
export async function compactStore(
  folder: string,
  listener: OfflineCompactionListener = {},
): Promise<CompactionResult> {
  try {
    claimFormat(folder);
    removeScratchFolders(folder);
    const bytesBefore = statSync(join(folder, DATA_FILE)).size;
    const before = await checkContents(folder, listener);
    const broken = brokenPages(before);
    if (broken) throw new DamagedStoreError(folder, `${broken.text} (${broken.code})`);
    const scratch = newScratchFolder(folder);
    const forget = listener.onScratch?.(() => {
      removeFolderInUse(scratch);
    });
    try {
      await copyCompacted(folder, scratch);
      refuseDifference(before, await checkContents(scratch, listener));
      await takePlace(scratch, folder);
      const bytesAfter = statSync(join(folder, DATA_FILE)).size;
      return { bytesBefore, bytesAfter, damaged: before.findings.length, counts: before.counts };
    } finally {
      removeFolderInUse(scratch);
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
    removeFolderInUse(scratch);
  }
}

async function copyCompacted(folder: string, scratch: string): Promise<void> {
  preflightForReading(folder);
  const environment = new Environment(folder);
  try {
    await environment.copyTo(scratch, "compact");
  } finally {
    await environment.close();
  }
  await beginFreeList(scratch);
}

/**
 * Writes a row again, so that the file has a list of free pages. A compacted copy has none. lmdb-js reads the list while it stores it: when
 * the first transaction that frees pages frees some hundreds, it finds its own unfinished entry, and ends the process.
 */
async function beginFreeList(folder: string): Promise<void> {
  preflightForReading(folder);
  const environment = new Environment(folder);
  try {
    const identity = environment.get(IDENTITY_KEY);
    if (identity) await environment.write([[IDENTITY_KEY, identity]]);
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

/** What is stored in a folder. Two copies of one state have the same. */
export interface Contents {
  /** The findings of damage. */
  readonly findings: readonly Finding[];
  readonly counts: StoreCounts | undefined;
  readonly commitSequence: number | undefined;
}

/** Checks everything in a folder. Findings of free or unfinished space are left out: compaction removes it. */
export async function checkContents(folder: string, { onRead, signal }: CompactionListener): Promise<Contents> {
  const findings: Finding[] = [];
  const onFinding = (finding: Finding): void => {
    if (isDamageFinding(finding)) findings.push(finding);
  };
  const request = { folder, pages: true, rows: true };
  const { counts, commitSequence } = await checkInProcess(request, { onFinding, onRead, signal });
  return { findings, counts, commitSequence };
}

/** Returns the finding of pages that LMDB could crash over. */
export const brokenPages = ({ findings }: Contents): Finding | undefined =>
  findings.find(({ code }) => code === "pages-damaged" || code === "check-crashed");

/** Throws an error unless a compacted copy has what is stored in the store. */
export function refuseDifference(store: Contents, copy: Contents): void {
  const [expected, found] = [store, copy].map((contents) => JSON.stringify(contents));
  if (expected === found) return;
  throw new Error(
    `the compacted store differs from the store, which was not changed: ${String(expected)}, ${String(found)}`,
  );
}
