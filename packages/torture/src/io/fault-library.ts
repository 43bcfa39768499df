import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { CannotRun } from "../kinds/kind.js";

const SOURCE = join(__dirname, "..", "..", "native", "faults.c");

/** Compiles the library that makes a process's calls fail. */
export async function compileFaultLibrary(target: string): Promise<void> {
  if (process.platform !== "linux") throw new CannotRun("this kind needs Linux");
  try {
    await promisify(execFile)("cc", ["-shared", "-fPIC", "-O1", "-o", target, SOURCE, "-ldl"]);
  } catch (error) {
    throw new CannotRun(`this kind needs a C compiler, called cc: ${(error as Error).message}`);
  }
}
