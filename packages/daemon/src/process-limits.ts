import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { EXIT, StartupError } from "./exit-code.js";

/**
 * The open files that a process needs without any connection: about 30 for Node, the engine and the listeners, 8 for worker threads, and
 * the rest for checks, backups and their processes. 27 to 39 were counted.
 */
const OWN_FILES = 64;

/** The smallest limit with which a command runs. With 20, the native libraries end the process instead of reporting an error. */
const LEAST_FILES = 96;

/** A limit of a process: its name in /proc/self/limits, and in Node's report. */
interface ProcessLimit {
  readonly name: string;
  readonly reported: "open_files" | "file_size_blocks" | "core_file_size_blocks";
}

/** Returns the number of files that this process may have open, or undefined when the system does not tell it. */
export const openFileLimit = (): number | undefined => limitOf({ name: "open files", reported: "open_files" });

/** Returns the largest size in bytes that this process may give a file, or undefined when the system does not tell it. */
const fileSizeLimit = (): number | undefined => limitOf({ name: "file size", reported: "file_size_blocks" });

function limitOf(limit: ProcessLimit): number | undefined {
  const text = process.platform === "linux" ? linuxLimit(limit) : reportedLimit(limit);
  if (text === undefined || text === "unlimited") return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Throws a StartupError when this process may open too few files. Call it before anything is opened. */
export function refuseFewOpenFiles(limit = openFileLimit()): void {
  if (limit === undefined || limit >= LEAST_FILES) return;
  throw new StartupError(
    EXIT.USAGE,
    `this process may have ${String(limit)} files open, but bolthole needs at least ${String(LEAST_FILES)}, and one more for each ` +
      `connection above ${String(LEAST_FILES - OWN_FILES)}; raise the limit, for example with: ulimit -n 1024`,
  );
}

/** The smallest limit with which a command runs. A new store needs half of it, and one in which little is stored not much more. */
const LEAST_FILE_BYTES = 16 << 20;

/**
 * Throws a StartupError when this process may write only small files (`ulimit -f`). With less than a new store needs, every command
 * would fail in its middle. A limit above it is met later, where it counts as a full disk.
 */
export function refuseSmallFiles(limit = fileSizeLimit()): void {
  if (limit === undefined || limit >= LEAST_FILE_BYTES) return;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `this process may write files of at most ${String(limit)} bytes, but bolthole needs at least ${String(LEAST_FILE_BYTES)}, and more for ` +
      "a larger store; nothing was changed; raise the limit, for example with: ulimit -f unlimited",
  );
}

/**
 * Makes the system write no core file when this process crashes: it would have the documents and secrets that are in memory. Returns
 * whether that is certain.
 *
 * Node cannot lower a limit of its process, so `prlimit` of util-linux does it. Without it, the limit must be set before the start.
 */
export function preventCoreDumps(): boolean {
  const isPrevented = (): boolean => limitOf({ name: "core file size", reported: "core_file_size_blocks" }) === 0;
  if (isPrevented()) return true;
  spawnSync("prlimit", ["--pid", String(process.pid), "--core=0:"], { stdio: "ignore" });
  return isPrevented();
}

/** Returns how many connections each of the listeners may have, so that files stay for the store: at most `wanted`. */
export function connectionsWithin(wanted: number, listeners: number, limit = openFileLimit()): number {
  if (limit === undefined) return wanted;
  return Math.max(1, Math.min(wanted, Math.floor((limit - OWN_FILES) / listeners)));
}

function linuxLimit(limit: ProcessLimit): string | undefined {
  try {
    return new RegExp(`^Max ${limit.name}\\s+(\\w+)`, "m").exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  } catch {
    // Without /proc, or without a file left to read it.
    return reportedLimit(limit);
  }
}

/** Takes the limit from Node's report, which needs no open file, and takes some milliseconds. */
function reportedLimit({ reported }: ProcessLimit): string | undefined {
  interface Report {
    readonly userLimits?: Partial<Record<ProcessLimit["reported"], { readonly soft?: number | string }>>;
  }
  const soft = (process.report.getReport() as unknown as Report).userLimits?.[reported]?.soft;
  return soft === undefined ? undefined : String(soft);
}
