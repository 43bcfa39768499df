import { readFileSync } from "node:fs";

/*
 * The name of a process, for the names of its unfinished files: `PID.START`, or `PID` where the system does not tell the start. A later process
 * may get the same id, but not with the same start.
 */

/** A process name at the end of a pattern. */
export const PROCESS_NAME = String.raw`\d+(?:\.\d+)?`;

/** The place of `starttime` after the name of the program: ticks since the boot of the system. */
const START_FIELD = 19;

/** Returns the name of this process. */
export function ownProcessName(): string {
  const start = startOf(process.pid);
  return start === undefined ? String(process.pid) : `${String(process.pid)}.${start}`;
}

/**
 * Whether a process of this name is running, besides this one. In a container, each process after the other may have the same id, so the id of
 * this process is that of an earlier one.
 */
export function isRunning(name: string): boolean {
  const [id = "", start] = name.split(".");
  const pid = Number(id);
  if (pid === process.pid) return false;
  const present = start === undefined ? undefined : startOf(pid);
  if (present !== undefined && present !== start) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function startOf(pid: number): string | undefined {
  try {
    // The name of the program, in parentheses, may have any characters.
    return readFileSync(`/proc/${String(pid)}/stat`, "utf8")
      .split(") ")
      .at(-1)
      ?.split(" ")[START_FIELD];
  } catch {
    return undefined;
  }
}
