import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";

const LARGEST = Buffer.alloc(4 << 20, 0x5a);
const SMALLEST_BYTES = 512;

/** A file that takes everything a file system has left. */
export class Ballast {
  constructor(private readonly path: string) {}

  fill(): void {
    const file = openSync(this.path, "a");
    try {
      for (let bytes = LARGEST.length; bytes >= SMALLEST_BYTES;) {
        try {
          if (writeSync(file, LARGEST, 0, bytes) < bytes) bytes = Math.floor(bytes / 2);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          bytes = Math.floor(bytes / 2);
        }
      }
      // Else the next commit of anybody on this disk would have to.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }
}
