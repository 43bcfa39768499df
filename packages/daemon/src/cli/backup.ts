import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import {
  type BackupManifest,
  BackupReader,
  type RestoreOptions,
  type RestoreResult,
  UnreadableBackupError,
  restoreBackup,
} from "@bolthole/lmdb";
import { REPORTED_LAG_MS, duration } from "../clock-log.js";
import { chosenDataFolder, dataFolderOf, variableOf } from "../config.js";
import { EXIT, StartupError, withExitCode } from "../exit-code.js";
import { damagedRuntimesFile } from "../folder/damaged-runtimes.js";
import { findControlFolder, makeFolder, refuseForeignFolder } from "../folder/data-folder.js";
import { refusesRuntime } from "../known-damage.js";
import { type BackupFile, openBackupFile } from "./backup-file.js";
import { instantText, parseInstant } from "./instant.js";
import { ByteProgress } from "./progress.js";
import { counted, describeCounts, mebibytes } from "./quantity.js";
import { onInterruption } from "./signals.js";
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
    const manifest = await withExitCode(() => writeBackup(file, () => target.maintenance.backUp()));
    // The bytes of the backup may go to the standard output.
    const output = file.isInPlace ? process.stderr : process.stdout;
    output.write(describeBackup(path, manifest));
    if (manifest.findings > 0 || !manifest.counts) process.exitCode = EXIT.DAMAGED;
  } finally {
    await target.close();
  }
}

/** Writes the backup and checks it. On an error, a file that was there before is unchanged. */
async function writeBackup(
  file: BackupFile,
  backUp: () => Promise<AsyncIterable<Uint8Array>>,
): Promise<BackupManifest> {
  const progress = new ByteProgress();
  try {
    const reader = new BackupReader();
    for await (const chunk of await backUp()) {
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
  const contents = describeCounts(counts, "records that could not all be read");
  const lines = [
    `${path}: store ${storeId} up to commit ${String(commitSequence)}, ${contents}`,
    `${mebibytes(bytes)}, SHA-256 of the data ${sha256}`,
  ];
  if (findings > 0) {
    lines.push(
      `the store and this copy are damaged: ${counted(findings, "finding")}; run bolthole verify for the list`,
    );
  }
  return `${lines.join("\n")}\n`;
}

interface RestoreFlags {
  readonly data?: string;
  readonly keepOauth?: true;
  readonly horizon?: number;
}

/** Returns the command `bolthole restore FILE`. */
export function restoreCommand(): Command {
  return new Command("restore")
    .description("create a new data folder from a backup; the folder must be missing or empty")
    .argument("<file>", "the backup")
    .option("--data <folder>", `the new data folder (${variableOf("data")}); there is no default`)
    .option("--keep-oauth", "keep the OAuth flows; flows that were used after the backup become usable again")
    .addOption(
      new Option(
        "--horizon <instant>",
        "the horizon of the new store, or now; requests above it that were applied after the backup may be applied again",
      ).argParser(parseInstant),
    )
    .action(restore);
}

async function restore(path: string, { data: flag, keepOauth, horizon }: RestoreFlags): Promise<void> {
  const data = chosenDataFolder(flag);
  if (data === undefined) {
    throw new StartupError(EXIT.USAGE, `name the new data folder with --data or in ${variableOf("data")}`);
  }
  if (!existsSync(path))
    throw new StartupError(EXIT.USAGE, `there is no file ${path}; name a file that bolthole backup wrote`);
  // The open of a pipe waits for its writer.
  if (statSync(path).isFIFO()) process.stderr.write(`bolthole: reading the backup from the pipe ${path}\n`);
  const options = { keepsOauth: keepOauth === true, horizonMs: horizon };
  const { manifest, storeId, findings, horizonMs, lastCommitMs, keptOutcomes } = await withExitCode(() =>
    restoreInto(data, path, options),
  );
  const dropped = (manifest.counts?.outcomes ?? keptOutcomes) - keptOutcomes;
  const lines = [
    ...findings.map(findingText),
    `${data}: store ${storeId}, created from store ${manifest.storeId} at commit ${String(manifest.commitSequence)}`,
    `dropped: ${counted(dropped, "request outcome")}${keepOauth ? "" : ", the OAuth flows"}`,
    `horizon: ${instantText(horizonMs)}, request ids below it are refused`,
  ];
  const lagMs = lastCommitMs - Date.now();
  if (lagMs > REPORTED_LAG_MS) {
    lines.push(
      `clock: ${duration(lagMs)} before the last commit in the backup; if it is behind, delete ${data}, set the clock and restore again: ` +
        "requests that were refused or sealed after the backup may be applied otherwise",
    );
  }
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
    makeFolder(dirname(resolve(data)));
    if (existsSync(data)) refuseForeignFolder(data, "data folder");
    const onRead = (bytes: number): void => {
      progress.add(bytes);
    };
    const complete: RestoreOptions["complete"] = (draft, storeId, findings) => {
      const refused = findings.filter(refusesRuntime);
      if (refused.length > 0) damagedRuntimesFile(draft, storeId).save(refused);
    };
    return await restoreBackup(path, data, { ...options, complete, onRead, onDraft: onInterruption });
  } catch (error) {
    if (error instanceof UnreadableBackupError) {
      const text = `the backup ${path} cannot be read: ${error.message}; name a file that bolthole backup wrote, and that this user may read`;
      throw new StartupError(EXIT.USAGE, text, error);
    }
    const isSystemError = error instanceof Error && "syscall" in error;
    if (!isSystemError) throw error;
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `data folder ${data} cannot be created: ${error.message}; name another folder`,
      error,
    );
  } finally {
    progress.stop();
  }
}
