import { readFileSync, readdirSync } from "node:fs";

/** What Linux tells about a running process; NaN where another system tells nothing. */
const fromProc = (pid: number, file: string, read: (text: string) => number): number =>
  process.platform === "linux" ? read(readFileSync(`/proc/${String(pid)}/${file}`, "latin1")) : Number.NaN;

const member = (name: string): ((text: string) => number) => {
  const line = new RegExp(`^${name}:\\s+(\\d+)`, "m");
  return (text) => Number(line.exec(text)?.[1]);
};

/** CPU time so far, of all its threads, to the nanosecond. */
export function cpuMsOf(pid: number): number {
  if (process.platform !== "linux") return Number.NaN;
  const tasks = `/proc/${String(pid)}/task`;
  let nanoseconds = 0;
  for (const task of readdirSync(tasks)) {
    nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, "latin1").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** Resident memory that is not a file's: the heap, buffers, and stacks. */
export const anonymousBytesOf = (pid: number): number =>
  fromProc(pid, "status", (text) => member("RssAnon")(text) * 1024);

/**
 * What the process gave to write calls so far: files, and the little that it sends. `write_bytes`, which the system says went to
 * the disk, is no measure of it: where a page lies in a large piece of the cache, Linux counts the whole piece.
 */
export const writtenBytesOf = (pid: number): number => fromProc(pid, "io", member("wchar"));
