import { execFileSync } from "node:child_process";
import { readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { findTool } from "./peers/tool.js";

/** Magic numbers of statfs(2) that a data folder may well have. */
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

/** Of the folder; a hexadecimal number when it is none that we know. */
export function fileSystemOf(folder: string): string {
  const { type } = statfsSync(folder);
  return FILE_SYSTEMS[type] ?? `0x${type.toString(16)}`;
}

/** A flush there costs nothing, so nothing durable can be measured. */
export const isInMemory = (folder: string): boolean => ["tmpfs", "ramfs"].includes(fileSystemOf(folder));

/** What the figures depend on besides the program. */
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

/** Of the program that the benchmark would start, as it says itself. */
function versionOfEtcd(): string {
  const etcd = findTool("etcd");
  if (etcd === undefined) return "absent";
  return /etcd Version: (\S+)/.exec(execFileSync(etcd, ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown";
}

/** Of an installed package. */
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
