import { statfsSync } from "node:fs";
import { constants } from "node:os";
import { StoreError } from "@bolthole/contract";
import { UnusableFolderError } from "./format.js";

/** The disk fails; what was acknowledged is not touched. */
export class DiskFailureError extends Error {
  override readonly name = "FailedDisk";
}

const { EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS } = constants.errno;
const FULL: readonly number[] = [ENOSPC, EDQUOT, EFBIG];
const FORBIDDEN: readonly number[] = [EACCES, EPERM, EROFS];
/** LMDB calls a write that was cut short an I/O error; with less than this it was the disk's end. */
const NEXT_TO_NOTHING = 64 << 10;

/** The operating system's number for what the disk refused, if that is what went wrong; the files may be as they should be. */
export function diskErrno(error: unknown): number | undefined {
  const errno = error instanceof Error ? errnoOf(error) : 0;
  return [EIO, ...FULL, ...FORBIDDEN].includes(errno) ? errno : undefined;
}

/** Why a store could not be opened, for the person who starts it: an UnusableFolder, a FailedDisk, or what it was. */
export function openFailure(folder: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof UnusableFolderError || error instanceof DiskFailureError)
    return error;
  const errno = errnoOf(error);
  if (error instanceof StoreError || FULL.includes(errno) || (errno === EIO && isFull(folder))) {
    return new UnusableFolderError(`the disk of ${folder} is full: ${error.message}; make room on it`, {
      cause: error,
    });
  }
  if (FORBIDDEN.includes(errno)) {
    return new UnusableFolderError(`${folder} cannot be written: ${error.message}`, { cause: error });
  }
  if (errno > 0) {
    return new DiskFailureError(`the disk of ${folder} failed: ${error.message}; what was acknowledged is there`, {
      cause: error,
    });
  }
  return error;
}

/** The native library has numbers where Node has names with negative numbers; those of LMDB's own are below zero. */
function errnoOf(error: Error): number {
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  if (typeof errno === "number") return -errno;
  return typeof code === "number" ? code : 0;
}

function isFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < NEXT_TO_NOTHING;
  } catch {
    return false;
  }
}
