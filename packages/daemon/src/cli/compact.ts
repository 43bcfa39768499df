import { Command } from "commander";
import type { CompactionResult } from "@bolthole/contract";
import { compactStore } from "@bolthole/lmdb";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, type ExitCode, StartupError, startFailure, withExitCode } from "../exit-code.js";
import { isFile, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/state-files.js";
import { reportTightened } from "../folder/private-files.js";
import { holdsStore, lmdbFiles, mayHoldStore, noStore, refuseLostData } from "../folder/store-id.js";
import { StoreLock } from "../folder/store-lock.js";
import { ByteProgress } from "./progress.js";
import { RemoteMaintenance } from "./remote-maintenance.js";
import { counted, describeCounts, mebibytes } from "./quantity.js";
import { onInterruption } from "./signals.js";

interface CompactFlags {
  readonly data?: string;
  readonly json?: true;
}

/** Returns the command `bolthole compact`. */
export function compactCommand(): Command {
  return new Command("compact")
    .description("make the data file small, and drop the bytes of deleted records; a daemon may be serving the store")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--json", "print one JSON object")
    .action(async (flags: CompactFlags) => {
      const data = dataFolderOf(flags.data);
      process.exitCode = await withExitCode(() => compact(data, flags));
    });
}

async function compact(data: string, { json }: CompactFlags): Promise<ExitCode> {
  if (isFile(data)) {
    const text = `${data} is a file, and compact works on data folders; use VACUUM of SQLite for a database`;
    throw new StartupError(EXIT.USAGE, text);
  }
  const progress = new ByteProgress();
  let result: CompactionResult;
  try {
    result = await compacted(data, (bytes) => {
      progress.add(bytes);
    });
  } finally {
    progress.stop();
  }
  process.stdout.write(json ? `${JSON.stringify(result)}\n` : describe(result));
  return result.damaged > 0 ? EXIT.DAMAGED : EXIT.CLEAN;
}

/** Compacts the store: by the running daemon, or by this process when no daemon serves the folder. */
async function compacted(data: string, onRead: (bytes: number) => void): Promise<CompactionResult> {
  const files = lmdbFiles(data);
  if (!mayHoldStore(files)) throw noStore(data);
  let lock: StoreLock | undefined;
  try {
    prepareDataFolder(data);
    lock = StoreLock.take(files, new Date(), reportTightened);
    if (!holdsStore(files)) throw noStore(data);
    refuseLostData(files);
    return await compactStore(data, { onRead, onScratch: onInterruption });
  } catch (error) {
    const [target] = error instanceof StartupError && error.exitCode === EXIT.HELD ? readEndpoint(data) : [];
    if (target === undefined) throw startFailure(data, error);
    return await compactedByDaemon(target, onRead);
  } finally {
    lock?.release();
  }
}

async function compactedByDaemon(target: string, onRead: (bytes: number) => void): Promise<CompactionResult> {
  const remote = new RemoteMaintenance(target);
  try {
    for await (const event of remote.compact()) {
      if ("result" in event) return event.result;
      onRead(event.bytesRead);
    }
  } finally {
    remote.close();
  }
  throw new Error("the daemon ended the compaction without a result");
}

function describe({ bytesBefore, bytesAfter, damaged, counts }: CompactionResult): string {
  const contents = describeCounts(counts, "not everything could be read");
  const lines = [`${mebibytes(bytesBefore)} before, ${mebibytes(bytesAfter)} after: ${contents}`];
  if (damaged > 0) lines.push(`${counted(damaged, "finding")} of damage, as before; run bolthole verify for the list`);
  return `${lines.join("\n")}\n`;
}
