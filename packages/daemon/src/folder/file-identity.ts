import { type BigIntStats, statSync } from "node:fs";

/*
 * A file is known by its device and inode: they stay the same when it is renamed, and every other file has others. A path may lead to
 * another file at any time.
 */

/** Returns the facts of the file at a path, or undefined when there is none that this process can find. */
export function lookUp(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    // The folder above it cannot be entered any more, or is not a folder.
    return undefined;
  }
}

export const isSameFile = (one: BigIntStats, other: BigIntStats): boolean =>
  one.ino === other.ino && one.dev === other.dev;

/** Whether two paths lead to the same file or folder. */
export function isSamePath(one: string, other: string): boolean {
  const [first, second] = [one, other].map(lookUp);
  return first !== undefined && second !== undefined && isSameFile(first, second);
}
