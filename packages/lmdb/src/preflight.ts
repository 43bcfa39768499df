import { closeSync, constants, existsSync, fstatSync, openSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MAX_READERS } from "./environment.js";

/** At least what LMDB's table of readers takes, which has 64 bytes for each. */
const LOCK_FILE_BYTES = 64 * MAX_READERS + 4096;
/** Of an empty store. */
const DATA_FILE_BYTES = 16 * 4096;

/**
 * Does first what the native library is about to do: where that fails, LMDB ends the process instead of telling why. Throws
 * what the operating system says.
 */
export function preflight(folder: string): void {
  // LMDB makes its lock file as a hole and writes to it through memory, where a full disk is no error but a signal. It fills
  // the file anew when nobody else has it open.
  withFile(join(folder, "lock.mdb"), (file) => {
    if (fstatSync(file).size < LOCK_FILE_BYTES) writeZeros(file, LOCK_FILE_BYTES);
  });
  const data = join(folder, "data.mdb");
  if (existsSync(data) && statSync(data).size > 0) {
    withFile(data, (file) => readSync(file, Buffer.alloc(DATA_FILE_BYTES), 0, DATA_FILE_BYTES, 0));
    return;
  }
  // Not in the file itself: LMDB takes only an empty one for a new one, and a kill may come between.
  const scratch = join(folder, "room.new");
  try {
    withFile(scratch, (file) => writeZeros(file, DATA_FILE_BYTES));
  } finally {
    rmSync(scratch, { force: true });
  }
}

function withFile(path: string, use: (file: number) => unknown): void {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    use(file);
  } finally {
    closeSync(file);
  }
}

const writeZeros = (file: number, bytes: number): number => writeSync(file, Buffer.alloc(bytes), 0, bytes, 0);
