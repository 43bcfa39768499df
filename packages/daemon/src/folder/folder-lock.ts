import { closeSync, ftruncateSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "fs-native-extensions";
import { EXIT, StartupError } from "../exit-code.js";

const FILE = "bolthole.lock";

/** What a held lock says of its holder. */
interface Holder {
  readonly pid: number;
  readonly startedAt: string;
}

/**
 * Makes this process the folder's only owner. The lock is the operating system's and dies with the process, so a crash
 * leaves nothing behind that could block a start; the text in the file is for people.
 */
export function lockFolder(folder: string, startedAt: Date): () => void {
  const path = join(folder, FILE);
  const descriptor = openSync(path, "a+", 0o600);
  if (!tryLock(descriptor)) {
    const holder = describeHolder(path);
    closeSync(descriptor);
    throw new StartupError(EXIT.HELD, `data folder ${folder} is held by another daemon${holder}`);
  }
  ftruncateSync(descriptor, 0);
  writeSync(
    descriptor,
    `${JSON.stringify({ pid: process.pid, startedAt: startedAt.toISOString() } satisfies Holder)}\n`,
  );
  fsyncSync(descriptor);
  return () => {
    closeSync(descriptor);
  };
}

function describeHolder(path: string): string {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(path, "utf8")) as Holder;
    return `: pid ${String(pid)}, started ${startedAt}`;
  } catch {
    // The holder may be just about to write its name.
    return "";
  }
}
