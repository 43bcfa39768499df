import { existsSync } from "node:fs";
import { Command, Option } from "commander";
import { restoreBackup } from "@bolthole/lmdb";
import { SETTINGS, variableOf } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";
import { ByteProgress } from "./byte-progress.js";
import { told } from "./told.js";
import { findingText } from "./verify.js";

interface RestoreFlags {
  readonly data: string;
  readonly keepOauth?: true;
}

/** `bolthole restore FILE`: makes a new data folder out of a backup. */
export function restoreCommand(): Command {
  return new Command("restore")
    .description("make a new data folder out of a backup; no daemon may run on it")
    .argument("<file>", "the backup")
    .addOption(
      new Option("--data <folder>", `${SETTINGS.data.help}; absent or empty (${variableOf("data")})`)
        .env(variableOf("data"))
        .makeOptionMandatory(),
    )
    .option("--keep-oauth", "keep the OAuth flows: those that were used since the backup come back to life")
    .action(restore);
}

async function restore(path: string, { data, keepOauth }: RestoreFlags): Promise<void> {
  if (!existsSync(path)) throw new StartupError(EXIT.USAGE, `there is no file ${path}`);
  const progress = new ByteProgress();
  const restored = await told(() =>
    restoreBackup(path, data, {
      keepsOauth: keepOauth === true,
      onRead: (bytes) => {
        progress.add(bytes);
      },
    }),
  ).finally(() => {
    progress.stop();
  });
  const { manifest, storeId, findings } = restored;
  const lines = [
    ...findings.map(findingText),
    `${data}: store ${storeId}, made from store ${manifest.storeId} as of commit ${String(manifest.commitSequence)}`,
    `dropped: ${String(manifest.counts?.outcomes ?? 0)} request outcomes${keepOauth ? "" : ", the OAuth flows"}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  if (findings.length > 0) process.exitCode = EXIT.DAMAGED;
}
