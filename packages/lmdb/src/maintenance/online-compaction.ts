import { chmodSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { type CompactionResult, readFailed, writeFailed } from "@bolthole/contract";
import { type CompactionListener, type EngineLifecycle, YieldBudget } from "@bolthole/core";
import type { ChangedKeys } from "../changed-keys.js";
import { diskRefusal } from "../disk-errors.js";
import { DiskReservation } from "../disk-reservation.js";
import { Environment, type Put } from "../environment.js";
import { refuseFullDisk } from "./backup.js";
import { flushPath } from "./check.js";
import { type Contents, brokenPages, checkContents, compactCopy, refuseDifference } from "./compaction.js";
import { newScratchFolder, removeScratchFolder } from "./scratch-folder.js";

/** The parts of an open store that a compaction uses. */
export interface OpenStoreFiles {
  readonly folder: string;
  readonly environment: Environment;
  readonly reservation: DiskReservation;
  readonly lifecycle: EngineLifecycle;
  /** Runs work between two transactions of the writer, which waits for it. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  /** Stops the store. Called when the new file is in its place and cannot be used. */
  readonly stop: (cause: unknown) => void;
  /** Calls `rename`, which puts this file in the place of the data file. It holds the locks of the store. */
  readonly replaceDataFile: (draft: string, rename: () => void) => void;
}

const DATA_FILE = "data.mdb";
const LOCK_FILE = "lock.mdb";

/** The rows that one transaction brings into the copy. */
const SLICE_ROWS = 1_000;
const SLICE_BYTES = 1 << 20;
/** The writer waits while the last rows are brought into the copy: so many at most. */
const LAST_ROWS = 2_000;
/** Each round brings what was changed during the one before. A writer that is always faster ends the compaction. */
const ROUNDS = 50;
/** The keys of changed rows are in memory. */
const MOST_CHANGED_ROWS = 2_000_000;

/**
 * Replaces the data file of an open store by one that has only what is stored, while the store is read and written.
 *
 *   copy, check, compact, check again      the keys of the rows that commits change meanwhile are noted
 *   bring those rows into the new file     again and again, until few are left
 *   exchange                               the writer waits: the last rows, the names of the files
 *
 * A read that has begun ends in the old file, which the system deletes afterwards. A crash at any moment leaves the old file or the new
 * one at the path, and both have every acknowledged change. Rejects with DISK_FULL, with DAMAGED_RECORD when pages are damaged, with BUSY
 * when the writer is too fast, and with SHUTTING_DOWN. The store is then as before.
 */
export async function compactOnline(store: OpenStoreFiles, listener: CompactionListener): Promise<CompactionResult> {
  const { folder, environment, lifecycle } = store;
  await refuseFullDisk(folder, environment, "a compaction");
  const signal = AbortSignal.any([lifecycle.signal, ...(listener.signal ? [listener.signal] : [])]);
  const bytesBefore = statSync(join(folder, DATA_FILE)).size;
  const scratch = newScratchFolder(folder);
  const changed = environment.noteChanges();
  let copy: Environment | undefined;
  try {
    await environment.copyTo(scratch, "whole");
    const { findings, counts } = await compactChecked(scratch, { ...listener, signal });
    copy = new Environment(scratch);
    await catchUp(environment, copy, changed, signal);
    const next = copy;
    await store.exclusively(async () => {
      await bring(environment, next, changed.take());
      await exchange(store, scratch, next);
      copy = undefined;
    });
    const bytesAfter = statSync(join(folder, DATA_FILE)).size;
    return { bytesBefore, bytesAfter, damaged: findings.length, counts };
  } catch (error) {
    lifecycle.refuseAfterClosing("WriteFailed");
    throw diskRefusal("the copy of a compaction", error);
  } finally {
    changed.end();
    await copy?.close();
    removeScratchFolder(scratch);
  }
}

/** Compacts a copy of the store, and compares what is stored in it before and after. Returns what that is. */
async function compactChecked(scratch: string, listener: CompactionListener): Promise<Contents> {
  const before = await checkContents(scratch, listener);
  const broken = brokenPages(before);
  if (broken) {
    const text = `pages of the data file are damaged (${broken.text}), so it was not compacted; restore a backup`;
    throw readFailed("DAMAGED_RECORD", text, { record: "data file" });
  }
  await compactCopy(scratch);
  const after = await checkContents(scratch, listener);
  refuseDifference(before, after);
  return after;
}

/** Brings the changed rows into the copy until few are left. */
async function catchUp(
  environment: Environment,
  copy: Environment,
  changed: ChangedKeys,
  signal: AbortSignal,
): Promise<void> {
  for (let round = 0; changed.size > LAST_ROWS; round += 1) {
    if (round === ROUNDS || changed.size > MOST_CHANGED_ROWS) {
      throw writeFailed("BUSY", "the store is changed faster than it can be copied; compact it at a quieter time");
    }
    await bring(environment, copy, changed.take());
    signal.throwIfAborted();
  }
}

/** Writes the present values of these keys into the copy. A value that is changed in the meantime is noted again. */
async function bring(environment: Environment, copy: Environment, keys: readonly Buffer[]): Promise<void> {
  let puts: Put[] = [];
  let bytes = 0;
  const budget = new YieldBudget();
  const write = async (): Promise<void> => {
    if (puts.length > 0) await copy.write(puts);
    puts = [];
    bytes = 0;
  };
  for (const key of keys) {
    const value = environment.get(key);
    puts.push([key, value]);
    bytes += value?.length ?? 0;
    if (puts.length >= SLICE_ROWS || bytes >= SLICE_BYTES) await write();
    const wait = budget.spend();
    if (wait) await wait;
  }
  await write();
}

/** Puts the new files in the place of the old ones, and continues in them. Stops the store when it fails half way. */
async function exchange(store: OpenStoreFiles, scratch: string, copy: Environment): Promise<void> {
  const { folder, environment, reservation } = store;
  const data = join(scratch, DATA_FILE);
  chmodSync(data, 0o600);
  const file = await DiskReservation.openFile(scratch);
  const state = { isBegun: false };
  try {
    store.replaceDataFile(data, () => {
      state.isBegun = true;
      // A process that finds the new file finds its table of readers, too.
      renameSync(join(scratch, LOCK_FILE), join(folder, LOCK_FILE));
      renameSync(data, join(folder, DATA_FILE));
    });
    environment.continueWith(copy);
    await reservation.continueWith(file);
    // Before the first commit in the new file: a power failure must not bring back the old one afterwards.
    await flushPath(folder);
  } catch (error) {
    if (state.isBegun) store.stop(error);
    await file.close();
    throw error;
  }
}
