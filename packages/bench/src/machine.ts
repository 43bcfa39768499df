import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { delimiter, dirname, join } from "node:path";

const TOOLS = join(__dirname, "..", "..", "..", ".tools", "bin");

/** Returns the path of a program from `.tools/bin` or the PATH; undefined when it is in neither. */
export const findTool = (name: string): string | undefined =>
  [TOOLS, ...(process.env.PATH ?? "").split(delimiter)]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

/** Reads a number about a running process from /proc; NaN on other systems than Linux. */
const fromProc = (pid: number, file: string, read: (text: string) => number): number =>
  process.platform === "linux" ? read(readFileSync(`/proc/${String(pid)}/${file}`, "latin1")) : Number.NaN;

const member = (name: string): ((text: string) => number) => {
  const line = new RegExp(`^${name}:\\s+(\\d+)`, "m");
  return (text) => Number(line.exec(text)?.[1]);
};

/** Returns the CPU time of all threads of a process so far. */
export function cpuMsOf(pid: number): number {
  if (process.platform !== "linux") return Number.NaN;
  const tasks = `/proc/${String(pid)}/task`;
  let nanoseconds = 0;
  for (const task of readdirSync(tasks)) {
    nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, "latin1").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** Returns the resident memory that is not mapped from a file: heap, buffers and stacks. */
export const anonymousBytesOf = (pid: number): number =>
  fromProc(pid, "status", (text) => member("RssAnon")(text) * 1024);

/**
 * Returns the bytes that a process passed to write calls so far, nearly all of them to files. `write_bytes` is not usable:
 * Linux counts a whole large piece of its cache when one page of it is written.
 */
export const writtenBytesOf = (pid: number): number => fromProc(pid, "io", member("wchar"));

/** Magic numbers of statfs(2) for common file systems. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x794c7630: "overlayfs",
  0x2fc12fc1: "zfs",
  0x6969: "nfs",
  0x1021994: "tmpfs",
  0x858458f6: "ramfs",
  0x1a: "apfs",
};

/** Returns the name of the folder's file system, or its magic number when it is unknown. */
function fileSystemOf(folder: string): string {
  const { type } = statfsSync(folder);
  return FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`;
}

/** Whether the folder is in memory. A flush costs nothing there, so durable writes cannot be measured. */
export const isInMemory = (folder: string): boolean => ["tmpfs", "ramfs"].includes(fileSystemOf(folder));

/** Returns the facts about the machine that the figures depend on. */
export function machineFacts(folder: string): Readonly<Record<string, string | number>> {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory: `${(totalmem() / 1024 ** 3).toFixed(1)} GiB`,
    system: `${process.platform} ${release()} ${process.arch}`,
    fileSystem: fileSystemOf(folder),
    folder,
    node: process.version,
    "grpc-js": versionOf("@grpc/grpc-js"),
    lmdb: versionOf("lmdb"),
    etcd: versionOfEtcd(),
    loadAverageBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  };
}

/** Returns the version that etcd reports, or "absent". */
function versionOfEtcd(): string {
  const etcd = findTool("etcd");
  if (etcd === undefined) return "absent";
  return /etcd Version: (\S+)/.exec(execFileSync(etcd, ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown";
}

/** Returns the version of an installed package. */
function versionOf(name: string): string {
  for (let folder = dirname(require.resolve(name)); ; folder = dirname(folder)) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, unknown>;
      if (manifest.name === name) return String(manifest.version);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    if (folder === dirname(folder)) return "unknown";
  }
}
