import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Command, Option } from "commander";
import {
  type BackupManifest,
  BackupReader,
  type RestoreOptions,
  type RestoreResult,
  restoreBackup,
} from "@bolthole/lmdb";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, StartupError, withExitCode } from "../exit-code.js";
import { damagedRuntimesFile } from "../folder/damaged-runtimes.js";
import { findControlFolder, makeFolder } from "../folder/data-folder.js";
import { refusesRuntime } from "../known-damage.js";
import { type BackupFile, openBackupFile } from "./backup-file.js";
import { instantText, parseInstant } from "./instant.js";
import { ByteProgress, mebibytes } from "./progress.js";
import { type StoreTargetFlags, addStoreTargetOptions, openStoreTarget } from "./store-target.js";
import { findingText } from "./verify.js";

/** Returns the command `bolthole backup FILE`. */
export function backupCommand(): Command {
  const command = new Command("backup")
    .description("write a consistent copy of a store into a file; a daemon may be serving the store")
    .argument(
      "<file>",
      "the backup; an existing backup is replaced when the new one is complete; a pipe is written in place",
    );
  return addStoreTargetOptions(command).action(backUp);
}

async function backUp(path: string, flags: StoreTargetFlags): Promise<void> {
  const target = await openStoreTarget(flags, "refuse");
  try {
    const file = await openBackupFile(path, findControlFolder(dataFolderOf(flags.data)));
    const manifest = await withExitCode(async () => writeBackup(file, await target.maintenance.backUp()));
    // The bytes of the backup may go to the standard output.
    const output = file.isInPlace ? process.stderr : process.stdout;
    output.write(describeBackup(path, manifest));
    if (manifest.findings > 0 || !manifest.counts) process.exitCode = EXIT.DAMAGED;
  } finally {
    await target.close();
  }
}

/** Writes the backup and checks it. On an error, a file that was there before is unchanged. */
async function writeBackup(file: BackupFile, chunks: AsyncIterable<Uint8Array>): Promise<BackupManifest> {
  const progress = new ByteProgress();
  try {
    const reader = new BackupReader();
    for await (const chunk of chunks) {
      reader.take(chunk);
      await file.write(chunk);
      progress.add(chunk.length);
    }
    const manifest = reader.end();
    await file.commit(manifest);
    return manifest;
  } catch (error) {
    await file.discard();
    throw error;
  } finally {
    progress.stop();
  }
}

function describeBackup(path: string, manifest: BackupManifest): string {
  const { storeId, commitSequence, counts, findings, bytes, sha256 } = manifest;
  const contents = counts
    ? `${String(counts.runtimes)} runtimes, ${String(counts.rows)} records, ${String(counts.outcomes)} request outcomes`
    : "records that could not all be read";
  const lines = [
    `${path}: store ${storeId} up to commit ${String(commitSequence)}, ${contents}`,
    `${mebibytes(bytes)}, SHA-256 of the data ${sha256}`,
  ];
  if (findings > 0) {
    lines.push(`the store and this copy are damaged: ${String(findings)} findings; run bolthole verify for the list`);
  }
  return `${lines.join("\n")}\n`;
}

interface RestoreFlags {
  readonly data: string;
  readonly keepOauth?: true;
  readonly horizon?: number;
}

/** Returns the command `bolthole restore FILE`. */
export function restoreCommand(): Command {
  return new Command("restore")
    .description("create a new data folder from a backup; the folder must be missing or empty")
    .argument("<file>", "the backup")
    .addOption(
      new Option("--data <folder>", `the new data folder (${variableOf("data")})`)
        .env(variableOf("data"))
        .makeOptionMandatory(),
    )
    .option("--keep-oauth", "keep the OAuth flows; flows that were used after the backup become usable again")
    .addOption(
      new Option(
        "--horizon <instant>",
        "the horizon of the new store, or now; requests above it that were applied after the backup may be applied again",
      ).argParser(parseInstant),
    )
    .action(restore);
}

async function restore(path: string, { data, keepOauth, horizon }: RestoreFlags): Promise<void> {
  if (!existsSync(path))
    throw new StartupError(EXIT.USAGE, `there is no file ${path}; name a file that bolthole backup wrote`);
  const options = { keepsOauth: keepOauth === true, horizonMs: horizon };
  const { manifest, storeId, findings, horizonMs, keptOutcomes } = await withExitCode(() =>
    restoreInto(data, path, options),
  );
  const dropped = (manifest.counts?.outcomes ?? keptOutcomes) - keptOutcomes;
  const lines = [
    ...findings.map(findingText),
    `${data}: store ${storeId}, created from store ${manifest.storeId} at commit ${String(manifest.commitSequence)}`,
    `dropped: ${String(dropped)} request outcomes${keepOauth ? "" : ", the OAuth flows"}`,
    `horizon: ${instantText(horizonMs)}, request ids below it are refused`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  if (findings.length > 0) process.exitCode = EXIT.DAMAGED;
}

async function restoreInto(
  data: string,
  path: string,
  options: Pick<RestoreOptions, "keepsOauth" | "horizonMs">,
): Promise<RestoreResult> {
  const progress = new ByteProgress();
  try {
    makeFolder(dirname(data));
    const onRead = (bytes: number): void => {
      progress.add(bytes);
    };
    const restored = await restoreBackup(path, data, { ...options, onRead });
    const refused = restored.findings.filter(refusesRuntime);
    if (refused.length > 0) damagedRuntimesFile(data, restored.storeId).save(refused);
    return restored;
  } catch (error) {
    const isSystemError = error instanceof Error && "syscall" in error;
    if (!isSystemError) throw error;
    throw new StartupError(EXIT.DATA_FOLDER, `data folder ${data} cannot be created: ${error.message}`, error);
  } finally {
    progress.stop();
  }
}
