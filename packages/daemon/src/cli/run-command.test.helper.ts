import { execFile } from "node:child_process";
import { join } from "node:path";

export const MAIN = join(__dirname, "main.js");

/** Runs `bolthole` to its end. */
export const bolthole = (...args: readonly string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
  });
