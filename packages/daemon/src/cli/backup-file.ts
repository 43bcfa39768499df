import { type Stats, existsSync, readdirSync, realpathSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { type BackupManifest, BackupReader, UnusableBackupError } from "@bolthole/lmdb";
import { EXIT, StartupError } from "../exit-code.js";
import { flushFolder } from "../folder/data-folder.js";
import { FileReplacement } from "../folder/state-files.js";

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
  const target = existsSync(path) ? realpathSync(path) : resolve(path);
  const found = existsSync(target) ? statSync(target) : undefined;
  if (found && !found.isFile()) return openInPlace(target, found);
  refuseInside(target, storeFolder);
  const previous = found && found.size > 0 ? await manifestOf(target) : undefined;
  removeLeftovers(target);
  return openReplacement(target, previous);
}

const refusal = (text: string, cause?: unknown): StartupError =>
  new StartupError(EXIT.USAGE, `${text}; nothing was written`, cause);

async function openInPlace(path: string, found: Stats): Promise<BackupFile> {
  if (!found.isFIFO() && !found.isCharacterDevice()) {
    throw refusal(`${path} is no file, pipe or character device; name another place for the backup`);
  }
  const file = await openFor(path, "w");
  return {
    isInPlace: true,
    write: (chunk) => file.writeFile(chunk),
    commit: () => file.close(),
    discard: () => file.close(),
  };
}

async function openReplacement(path: string, previous: BackupManifest | undefined): Promise<BackupFile> {
  const replacement = new FileReplacement(path, `${String(process.pid)}.new`);
  const file = await openFor(replacement.temporaryPath, "wx");
  return {
    isInPlace: false,
    write: (chunk) => file.writeFile(chunk),
    commit: async (manifest) => {
      if (previous) refuseWorse(path, previous, manifest);
      await file.sync();
      await file.close();
      replacement.commit();
      flushFolder(dirname(path));
    },
    discard: async () => {
      await file.close();
      replacement.discard();
    },
  };
}

async function openFor(path: string, flags: "w" | "wx"): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o600);
  } catch (error) {
    throw refusal(`the backup cannot be written: ${(error as Error).message}`, error);
  }
}

function refuseInside(path: string, storeFolder: string): void {
  const folder = existsSync(dirname(path)) ? realpathSync(dirname(path)) : dirname(path);
  const store = existsSync(storeFolder) ? realpathSync(storeFolder) : resolve(storeFolder);
  if (folder !== store && !folder.startsWith(store + sep)) return;
  throw refusal(`${path} is in the data folder of the store; keep a backup elsewhere, best on another disk`);
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

/** Removes the unfinished files of backups to this path whose processes have ended. */
function removeLeftovers(path: string): void {
  if (!existsSync(dirname(path))) return;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const pid = /^\.(\d+)\.new$/.exec(name.slice(basename(path).length))?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) rmSync(join(dirname(path), name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
