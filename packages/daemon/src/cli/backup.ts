import { rm } from "node:fs/promises";
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { Command } from "commander";
import { type BackupManifest, BackupReader } from "@bolthole/lmdb";
import { EXIT, StartupError } from "../exit-code.js";
import { ByteProgress, mebibytes } from "./byte-progress.js";
import { type PlaceFlags, addPlaceOptions, openPlace } from "./open-place.js";
import { told } from "./told.js";

/** `bolthole backup FILE`: one consistent copy of a store, running or not. */
export function backupCommand(): Command {
  const command = new Command("backup")
    .description("write one consistent copy of a store, running or not, into a file")
    .argument("<file>", "where the backup is written; a file that is there is replaced when the new one is whole");
  return addPlaceOptions(command).action(backUp);
}

async function backUp(path: string, flags: PlaceFlags): Promise<void> {
  const place = await openPlace(flags, "refuse");
  try {
    const manifest = await told(async () => writeBackup(path, await place.care.backUp()));
    process.stdout.write(describe(path, manifest));
    if (manifest.findings > 0 || !manifest.counts) process.exitCode = EXIT.DAMAGED;
  } finally {
    await place.close();
  }
}

/** The file is there as a whole, flushed and checked, or as it was before. */
async function writeBackup(path: string, chunks: AsyncIterable<Uint8Array>): Promise<BackupManifest> {
  const draft = `${path}.${String(process.pid)}.new`;
  const progress = new ByteProgress();
  const file = await opened(draft);
  try {
    const reader = new BackupReader();
    for await (const chunk of chunks) {
      reader.take(chunk);
      await file.writeFile(chunk);
      progress.add(chunk.length);
    }
    const manifest = reader.end();
    await file.sync();
    await file.close();
    await rename(draft, path);
    const folder = await open(dirname(path), "r");
    await folder.sync().finally(() => folder.close());
    return manifest;
  } catch (error) {
    await file.close();
    await rm(draft, { force: true });
    throw error;
  } finally {
    progress.stop();
  }
}

async function opened(path: string): Promise<FileHandle> {
  try {
    return await open(path, "wx", 0o600);
  } catch (error) {
    throw new StartupError(EXIT.USAGE, `the backup cannot be written: ${(error as Error).message}`, error);
  }
}

function describe(path: string, { storeId, commitSequence, counts, findings, bytes, sha256 }: BackupManifest): string {
  const held = counts
    ? `${String(counts.runtimes)} runtimes, ${String(counts.rows)} records, ${String(counts.outcomes)} request outcomes`
    : "records that could not all be read";
  const lines = [
    `${path}: store ${storeId} up to commit ${String(commitSequence)}, ${held}`,
    `${mebibytes(bytes)}, SHA-256 of the data ${sha256}`,
  ];
  if (findings > 0)
    lines.push(`the store is damaged, and so is its copy: ${String(findings)} findings; see bolthole verify`);
  return `${lines.join("\n")}\n`;
}
