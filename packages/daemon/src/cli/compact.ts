import { Command } from "commander";
import { compactStore } from "@bolthole/lmdb";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, type ExitCode, StartupError, startFailure, withExitCode } from "../exit-code.js";
import { isFile, prepareDataFolder } from "../folder/data-folder.js";
import { reportTightened } from "../folder/private-files.js";
import { holdsStore, lmdbFiles, mayHoldStore, noStore, refuseLostData } from "../folder/store-id.js";
import { StoreLock } from "../folder/store-lock.js";
import { ByteProgress } from "./progress.js";
import { counted, describeCounts, mebibytes } from "./quantity.js";
import { onInterruption } from "./signals.js";

interface CompactFlags {
  readonly data?: string;
  readonly json?: true;
}

/** Returns the command `bolthole compact`. */
export function compactCommand(): Command {
  return new Command("compact")
    .description("make the data file small, and drop the bytes of deleted records; no daemon may be running")
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
  const files = lmdbFiles(data);
  if (!mayHoldStore(files)) throw noStore(data);
  const progress = new ByteProgress();
  let lock: StoreLock | undefined;
  try {
    prepareDataFolder(data);
    lock = StoreLock.take(files, new Date(), reportTightened);
    if (!holdsStore(files)) throw noStore(data);
    refuseLostData(files);
    const result = await compactStore(data, {
      onRead: (bytes) => {
        progress.add(bytes);
      },
      onScratch: onInterruption,
    });
    progress.stop();
    const { bytesBefore, bytesAfter, damaged, counts } = result;
    const lines = [
      `${mebibytes(bytesBefore)} before, ${mebibytes(bytesAfter)} after: ${describeCounts(counts, "not everything could be read")}`,
      ...(damaged > 0 ? [`${counted(damaged, "finding")} of damage, as before; run bolthole verify for the list`] : []),
    ];
    process.stdout.write(`${json ? JSON.stringify(result) : lines.join("\n")}\n`);
    return damaged > 0 ? EXIT.DAMAGED : EXIT.CLEAN;
  } catch (error) {
    throw startFailure(data, error);
  } finally {
    progress.stop();
    lock?.release();
  }
}
