import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

/** More than LMDB's table of 126 readers takes. */
const BYTES = 3 * 4096;

/**
 * LMDB makes its lock file as a hole and writes to it through memory, where a full disk is not an error but the death of the
 * process. Zeros give the file its place on the disk first; LMDB fills it anew when nobody else has it open.
 */
export function keepLockFileWhole(folder: string): void {
  const file = openSync(join(folder, "lock.mdb"), constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    if (fstatSync(file).size < BYTES) writeSync(file, Buffer.alloc(BYTES), 0, BYTES, 0);
  } finally {
    closeSync(file);
  }
}
