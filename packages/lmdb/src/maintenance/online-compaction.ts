import { chmodSync, renameSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { type CompactionResult, readFailed, writeFailed } from "@bolthole/contract";
import { type CompactionListener, type EngineLifecycle, YieldBudget } from "@bolthole/core";
import type { ChangedKeys } from "../changed-keys.js";
import { diskRefusal, preflightForReading } from "../disk-errors.js";
import { DiskReservation } from "../disk-reservation.js";
import { Environment, type Put } from "../environment.js";
import { refuseFullDisk } from "./backup.js";
import { flushPath } from "./check.js";
import { type Contents, brokenPages, checkContents, compactCopy, refuseDifference } from "./compaction.js";
import { newScratchFolder, removeFolderInUse } from "./scratch-folder.js";

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
const LAST_ROWS = 1_000;
const LAST_BYTES = 1 << 20;
/** Each round brings what was changed during the one before. A writer that is always faster ends the compaction. */
const ROUNDS = 50;
/** The keys of changed rows are in memory. */
const CHANGED_KEYS_BYTES = 64 << 20;

/**
 * Replaces the data file of an open store by one that has only what is stored, while the store is read and written.
 *
 *   copy, check, compact, check again      the keys of the rows that commits change meanwhile are noted
 *   bring those rows into the new file     again and again, until few are left
 *   exchange                               the writer waits: the last rows, the names of the files
 *
 * A read that has begun ends in the old file, which the system deletes afterwards. A crash at any moment leaves the old file or the new
 * one at the path, and both have every acknowledged change. Rejects with DISK_FULL, with DAMAGED_RECORD when pages are damaged, with BUSY
 * when the writer is too fast, with SHUTTING_DOWN, and with an AbortError. The store is then as before. An error in the middle of the
 * exchange stops the store.
 */
export async function compactOnline(store: OpenStoreFiles, listener: CompactionListener): Promise<CompactionResult> {
  const { folder, environment, lifecycle } = store;
  await refuseFullDisk(folder, environment, "a compaction");
  const scratch = newScratchFolder(folder);
  const compaction = new OnlineCompaction(store, scratch, listener);
  try {
    return await compaction.run();
  } catch (error) {
    lifecycle.refuseAfterClosing("WriteFailed");
    throw compaction.refusal ?? diskRefusal(folder, "the copy of a compaction", error, writeFailed);
  } finally {
    await compaction.end();
    removeFolderInUse(scratch);
  }
}

/** Returns the size of the data file without the space that is reserved for the next commits. */
function storedBytes(environment: Environment): number {
  const { end, pageBytes } = environment.pages();
  return end * pageBytes;
}

class OnlineCompaction {
  private readonly tooFast = new AbortController();
  private readonly signal: AbortSignal;
  private readonly changed: ChangedKeys;
  /** The copy, until it is the store. */
  private copy: Environment | undefined;

  constructor(
    private readonly store: OpenStoreFiles,
    private readonly scratch: string,
    private readonly listener: CompactionListener,
  ) {
    const signals = [store.lifecycle.signal, this.tooFast.signal, ...(listener.signal ? [listener.signal] : [])];
    this.signal = AbortSignal.any(signals);
    this.changed = store.environment.noteChanges(CHANGED_KEYS_BYTES, () => {
      this.tooFast.abort();
    });
  }

  /** The reason why the compaction ended early, when it is not the error itself. */
  get refusal(): Error | undefined {
    if (!this.tooFast.signal.aborted) return undefined;
    return writeFailed("BUSY", "the store is changed faster than it can be copied; compact it at a quieter time");
  }

  async run(): Promise<CompactionResult> {
    const { store, scratch } = this;
    const { environment } = store;
    const bytesBefore = storedBytes(environment);
    await environment.copyTo(scratch, "whole");
    const { findings, counts } = await this.compactChecked();
    preflightForReading(scratch);
    const copy = new Environment(scratch);
    this.copy = copy;
    await this.catchUp(copy);
    await store.exclusively(async () => {
      await this.bring(copy);
      await this.exchange(copy);
    });
    return { bytesBefore, bytesAfter: storedBytes(environment), damaged: findings.length, counts };
  }

  /** Closes what is not the store's. */
  async end(): Promise<void> {
    this.changed.end();
    await this.copy?.close();
  }

  /** Compacts the copy, and compares what is stored in it before and after. Returns what that is. */
  private async compactChecked(): Promise<Contents> {
    const { scratch, signal } = this;
    const listener = { ...this.listener, signal };
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
  private async catchUp(copy: Environment): Promise<void> {
    for (let round = 0; !this.isNearlyEqual(); round += 1) {
      if (round === ROUNDS) this.tooFast.abort();
      await this.bring(copy);
    }
  }

  /** Whether the writer can wait until the rest is brought into the copy. */
  private isNearlyEqual(): boolean {
    const { environment } = this.store;
    if (this.changed.size > LAST_ROWS) return false;
    let bytes = 0;
    for (const key of this.changed.keys()) bytes += environment.sizeOf(key);
    return bytes <= LAST_BYTES;
  }

  /** Writes the present values of the changed rows into the copy. A value that is changed in the meantime is noted again. */
  private async bring(copy: Environment): Promise<void> {
    const { environment } = this.store;
    let puts: Put[] = [];
    let bytes = 0;
    const budget = new YieldBudget();
    const write = async (): Promise<void> => {
      this.signal.throwIfAborted();
      if (puts.length > 0) await copy.write(puts);
      // A listener whose client is gone aborts then.
      this.listener.onRead?.(bytes);
      puts = [];
      bytes = 0;
    };
    for (const key of this.changed.take()) {
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
  private async exchange(copy: Environment): Promise<void> {
    const { folder, environment, reservation, stop, replaceDataFile } = this.store;
    const data = join(this.scratch, DATA_FILE);
    chmodSync(data, 0o600);
    let file: FileHandle | undefined = await DiskReservation.openFile(this.scratch);
    const state = { isBegun: false };
    try {
      this.signal.throwIfAborted();
      replaceDataFile(data, () => {
        // A process that finds the new file finds its table of readers, too.
        renameSync(join(this.scratch, LOCK_FILE), join(folder, LOCK_FILE));
        state.isBegun = true;
        renameSync(data, join(folder, DATA_FILE));
      });
      environment.continueWith(copy);
      this.copy = undefined;
      const taken = file;
      file = undefined;
      await reservation.continueWith(taken);
      // Before the first commit in the new file: a power failure must not bring back the old one afterwards.
      await flushPath(folder);
    } catch (error) {
      if (state.isBegun) stop(error);
      await file?.close();
      throw error;
    }
  }
}
