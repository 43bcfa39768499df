import {
  type Stats,
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  type BackupManifest,
  BackupReader,
  PROCESS_NAME,
  UnusableBackupError,
  isRunning,
  ownProcessName,
} from "@bolthole/lmdb";
import { EXIT, StartupError } from "../exit-code.js";
import { flushFolder, refuseInside } from "../folder/data-folder.js";
import { isSameFile } from "../folder/file-identity.js";
import { FileReplacement } from "../folder/state-files.js";
import { onInterruption } from "./signals.js";

/** The place of a backup: a file that appears when it is complete, or a pipe or device that is written in place. */
export interface BackupFile {
  /** Whether the bytes go to the place itself. */
  readonly isInPlace: boolean;
  write(chunk: Uint8Array): Promise<void>;
  /** Makes the complete backup durable under its name. Throws a StartupError when it must not take the place of another one. */
  commit(manifest: BackupManifest): Promise<void>;
  /** Ends without a backup. A file that was there before is unchanged. */
  discard(): Promise<void>;
}

/**
 * Opens the place of a backup. Only a file that is a backup, or is empty, will be replaced. Throws a StartupError for any other
 * file, and for a place in `storeFolder`, where it could take the place of the store itself.
 */
export async function openBackupFile(path: string, storeFolder: string): Promise<BackupFile> {
  try {
    return await openPlace(path, storeFolder);
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw refusal(`the backup cannot be written: ${error.message}; name another file for it`, error);
  }
}

async function openPlace(path: string, storeFolder: string): Promise<BackupFile> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found && lstatSync(path, { throwIfNoEntry: false })) {
    throw refusal(`${path} is a link that leads to no file; name the file itself`);
  }
  // Not its real path: that of a pipe without a name, such as /dev/stdout, leads nowhere.
  if (found && !found.isFile()) return openInPlace(path, found);
  const target = found ? realpathSync(path) : resolve(path);
  refuseInside(storeFolder, target, "keep a backup elsewhere, best on another disk");
  const previous = found && found.size > 0 ? await manifestOf(target) : undefined;
  removeLeftovers(target);
  return openReplacement(target, previous);
}

const refusal = (text: string, cause?: unknown): StartupError =>
  new StartupError(EXIT.USAGE, `${text}; nothing was written`, cause);

const STDOUT = 1;

async function openInPlace(path: string, found: Stats): Promise<BackupFile> {
  const isStream = found.isFIFO() || found.isSocket();
  // The open descriptor is used: opening the pipe again would wait for ever when its reader has gone, and a socket has no path.
  if (isStream && isSameFile(fstatSync(STDOUT, { bigint: true }), statSync(path, { bigint: true })))
    return standardOutput;
  if (!found.isFIFO() && !found.isCharacterDevice()) {
    throw refusal(`${path} is no file, pipe or character device; name another place for the backup`);
  }
  const file = await open(path, "w", 0o600);
  return {
    isInPlace: true,
    write: (chunk) => file.writeFile(chunk).catch(throwUnwritten),
    commit: () => file.close(),
    discard: () => file.close(),
  };
}

const standardOutput: BackupFile = {
  isInPlace: true,
  write: (chunk) =>
    new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => {
        if (error) reject(error);
        else resolve();
      });
    }).catch(throwUnwritten),
  commit: () => Promise.resolve(),
  discard: () => Promise.resolve(),
};

/** Throws the error of a place that takes no more bytes. */
function throwUnwritten(error: unknown): never {
  const text =
    `the backup could not be written to its end: ${(error as Error).message}; a file that was there before is unchanged, and what a ` +
    "pipe or device received is no backup; free some space, or name another place";
  throw new StartupError(EXIT.DATA_FOLDER, text, error);
}

async function openReplacement(path: string, previous: BackupManifest | undefined): Promise<BackupFile> {
  const replacement = new FileReplacement(path, `${ownProcessName()}.new`);
  // In one step, so that no signal comes between the two. The second opening creates nothing.
  closeSync(openSync(replacement.temporaryPath, "wx", 0o600));
  const forget = onInterruption(() => {
    replacement.discard();
  });
  const file = await open(replacement.temporaryPath, "r+");
  return {
    isInPlace: false,
    write: (chunk) => file.writeFile(chunk).catch(throwUnwritten),
    commit: async (manifest) => {
      if (previous) refuseWorse(path, previous, manifest);
      try {
        await file.sync();
        await file.close();
        replacement.commit();
        forget();
        flushFolder(dirname(path));
      } catch (error) {
        throwUnwritten(error);
      }
    },
    discard: async () => {
      await file.close();
      replacement.discard();
      forget();
    },
  };
}

const HEADER_BYTES = 64 * 1024;

/** Returns the manifest of an earlier backup. Throws a StartupError for any other file. */
async function manifestOf(path: string): Promise<BackupManifest> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const reader = new BackupReader();
    reader.take(buffer.subarray(0, bytesRead));
    if (reader.manifest) return reader.manifest;
  } catch (error) {
    if (!(error instanceof UnusableBackupError)) throw error;
  } finally {
    await file.close();
  }
  throw refusal(`${path} is no backup of Bolthole, so it is not replaced; name another file, or remove it`);
}

/** A sound backup is worth more than a damaged one, and any content more than none. */
function refuseWorse(path: string, previous: BackupManifest, next: BackupManifest): void {
  const keep = `the backup that is in ${path} stays; name another file for the new one`;
  const isDamaged = next.findings > 0 || !next.counts;
  if (isDamaged && previous.findings === 0 && previous.counts) {
    throw new StartupError(EXIT.DAMAGED, `the store is damaged, and so is this copy of it; ${keep}`);
  }
  const isEmpty = next.counts?.rows === 0;
  if (isEmpty && (previous.counts?.rows ?? 1) > 0) {
    throw new StartupError(EXIT.USAGE, `the store is empty; ${keep}`);
  }
}

/** The end of the name of an unfinished backup, after the name of the file that it will have. */
const UNFINISHED = new RegExp(`^\\.(${PROCESS_NAME})\\.new$`);

/** Removes the unfinished files of backups to this path whose processes have ended. */
function removeLeftovers(path: string): void {
  if (!existsSync(dirname(path))) return;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const owner = UNFINISHED.exec(name.slice(basename(path).length))?.[1];
    if (owner !== undefined && !isRunning(owner)) rmSync(join(dirname(path), name), { force: true });
  }
}
