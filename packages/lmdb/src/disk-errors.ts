import {
  closeSync,
  constants as fileConstants,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { isNativeError } from "node:util/types";
import { StoreError, readFailed, type writeFailed } from "@bolthole/contract";
import { FILE_SIZE_ADVICE } from "./disk-reservation.js";
import { MAX_READERS } from "./environment.js";
import { UnusableFolderError } from "./format.js";

/** Thrown when the disk fails while a store is opened. Acknowledged changes are not affected. */
export class DiskFailureError extends Error {
  override readonly name = "DiskFailureError";
}

const { EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS } = constants.errno;
const { EEXIST, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, ENOTDIR } = constants.errno;
const FULL: readonly number[] = [ENOSPC, EDQUOT, EFBIG];
const FORBIDDEN: readonly number[] = [EACCES, EPERM, EROFS];
/** A name that leads to something else, or too few open files. The disk is not the cause. */
const UNUSABLE: readonly number[] = [EEXIST, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, ENOTDIR];
/** LMDB reports a write that was cut short as an I/O error. With less than this free, the disk was full. */
const ALMOST_FULL_BYTES = 64 << 10;

/** Returns the operating system's error number when the disk or the file system refused something, else undefined. */
export function diskErrno(error: unknown): number | undefined {
  const errno = isNativeError(error) ? errnoOf(error) : 0;
  return [EIO, ...FULL, ...FORBIDDEN].includes(errno) ? errno : undefined;
}

/**
 * Translates an error of opening a store into an UnusableFolderError or a DiskFailureError when the disk is the cause.
 * Returns every other error unchanged.
 */
export function openFailure(folder: string, error: unknown): unknown {
  if (!isNativeError(error) || error instanceof UnusableFolderError || error instanceof DiskFailureError) return error;
  const errno = errnoOf(error);
  if (errno === EFBIG) {
    return new UnusableFolderError(`${folder} cannot be written: ${error.message}; ${FILE_SIZE_ADVICE}`, {
      cause: error,
    });
  }
  if (error instanceof StoreError || FULL.includes(errno) || (errno === EIO && isFull(folder))) {
    return new UnusableFolderError(`the disk of ${folder} is full: ${error.message}; free some space on it`, {
      cause: error,
    });
  }
  if (FORBIDDEN.includes(errno)) {
    const use = errno === EROFS ? "cannot be written" : "cannot be read or written";
    const advice = "let this user read and write the folder and its files, or name another folder";
    return new UnusableFolderError(`${folder} ${use}: ${error.message}; ${advice}`, { cause: error });
  }
  if (UNUSABLE.includes(errno)) {
    return new UnusableFolderError(`${folder} cannot be used: ${error.message}; remove the cause, and start again`, {
      cause: error,
    });
  }
  if (errno > 0) {
    return new DiskFailureError(
      `the disk of ${folder} failed: ${error.message}; acknowledged changes are not affected, check the disk`,
      { cause: error },
    );
  }
  return error;
}

/** Returns the error number. Node has negative numbers in `errno`; LMDB has them in `code`, its own ones below zero. */
function errnoOf(error: Error): number {
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  if (typeof errno === "number") return -errno;
  return typeof code === "number" ? code : 0;
}

function isFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < ALMOST_FULL_BYTES;
  } catch {
    return false;
  }
}

/**
 * Translates the refusal of a disk during a backup or a check of an open store into a StoreError. The store itself is not
 * affected, and nothing is known about damage. Returns every other error unchanged.
 */
export function diskRefusal(
  folder: string,
  work: string,
  error: unknown,
  refused: typeof readFailed | typeof writeFailed = readFailed,
): unknown {
  if (!isNativeError(error) || error instanceof StoreError) return error;
  const errno = errnoOf(error);
  // LMDB reports a write that was cut short as an error of the device.
  if (FULL.includes(errno) || (diskErrno(error) !== undefined && isFull(folder))) {
    const advice = errno === EFBIG ? FILE_SIZE_ADVICE : "free some space on the disk";
    return refused("DISK_FULL", `the disk has no space for ${work}: ${error.message}; ${advice}`, { cause: error });
  }
  return diskErrno(error) === undefined
    ? error
    : refused("INTERNAL", `the disk refused ${work}: ${error.message}; check the disk`, { cause: error });
}

/** The largest size of LMDB's lock file, which has 64 bytes for each reader slot. */
const LOCK_FILE_BYTES = 64 * MAX_READERS + 4096;
/** The size of the data file of an empty store. */
const DATA_FILE_BYTES = 16 * 4096;

/**
 * Performs the first file operations of LMDB before LMDB performs them. If one fails, LMDB would end the process instead of
 * reporting an error. Throws the operating system's error.
 */
export function preflight(folder: string): void {
  reserveLockFile(folder);
  const data = join(folder, "data.mdb");
  if (existsSync(data) && statSync(data).size > 0) {
    withFile(data, (file) => readSync(file, Buffer.alloc(DATA_FILE_BYTES), 0, DATA_FILE_BYTES, 0));
    return;
  }
  // The zeros go into another file: LMDB treats only an empty file as a new one, and the process may be killed here.
  const scratch = join(folder, "room.new");
  try {
    withFile(scratch, (file) => {
      writeZeros(file, DATA_FILE_BYTES);
    });
  } finally {
    rmSync(scratch, { force: true });
  }
}

/**
 * Writes the blocks of LMDB's lock file. LMDB creates it without allocating blocks, and writes to it through mapped memory.
 * There a full disk is not an error but a signal that ends the process. LMDB initialises the file itself when no other
 * process has it open. Throws the operating system's error.
 *
 * Must not be called while this process has the folder open in LMDB: closing a file of a process releases all the locks that
 * the process holds on it, and the next process that opens the folder would initialise the lock file of the running one.
 */
function reserveLockFile(folder: string): void {
  withFile(join(folder, "lock.mdb"), (file) => {
    if (fstatSync(file).size < LOCK_FILE_BYTES) writeZeros(file, LOCK_FILE_BYTES);
  });
}

/** Prepares a folder for LMDB to read it. On a file system that cannot be written, LMDB reads without a lock file. */
export function preflightForReading(folder: string): void {
  try {
    reserveLockFile(folder);
  } catch (error) {
    if (!isNativeError(error) || !FORBIDDEN.includes(errnoOf(error))) throw error;
  }
}

function withFile(path: string, use: (file: number) => unknown): void {
  const file = openSync(path, fileConstants.O_RDWR | fileConstants.O_CREAT, 0o600);
  try {
    use(file);
  } finally {
    closeSync(file);
  }
}

/** A write at the end of the space, or at the size limit of the process, is cut short without an error. Only the next one fails. */
function writeZeros(file: number, bytes: number): void {
  const zeros = Buffer.alloc(bytes);
  for (let at = 0; at < bytes;) at += writeSync(file, zeros, at, bytes - at, at);
}
