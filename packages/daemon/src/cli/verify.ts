import { Command } from "commander";
import { type Finding, type StoreCounts, type VerifyEvent, isDamageFinding } from "@bolthole/contract";
import { verifyEvents } from "@bolthole/core";
import { checkFolder } from "@bolthole/lmdb";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, StartupError, startFailure, withExitCode } from "../exit-code.js";
import { isFile, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/state-files.js";
import { lmdbFiles, mayHoldStore, noStore } from "../folder/store-id.js";
import { reportTightened } from "../folder/private-files.js";
import { StoreLock } from "../folder/store-lock.js";
import { ByteProgress } from "./progress.js";
import { describeCounts, mebibytes } from "./quantity.js";
import { RemoteMaintenance } from "./remote-maintenance.js";

interface VerifyFlags {
  readonly data?: string;
  readonly json?: true;
}

/** Returns the command `bolthole verify`. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description("read and check all stored data and report every finding; a daemon may be serving the store")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--json", "print one JSON object for each finding and a summary object at the end")
    .action(async (flags: VerifyFlags) => {
      const data = dataFolderOf(flags.data);
      process.exitCode = await withExitCode(() => report(data, flags.json === true));
    });
}

async function report(data: string, isJson: boolean): Promise<number> {
  const progress = new ByteProgress();
  const totals = { damage: 0, space: 0, bytes: 0 };
  let counts: StoreCounts | undefined;
  try {
    for await (const event of eventsOf(data)) {
      if ("finding" in event) {
        totals[isDamageFinding(event.finding) ? "damage" : "space"] += 1;
        process.stdout.write(isJson ? `${JSON.stringify(event.finding)}\n` : `${findingText(event.finding)}\n`);
      } else if ("bytesRead" in event) {
        totals.bytes += event.bytesRead;
        progress.add(event.bytesRead);
      } else {
        counts = event.counts;
      }
    }
  } finally {
    progress.stop();
  }
  // The name of this member is part of the output of `--json`.
  const isSound = counts !== undefined && totals.damage === 0;
  process.stdout.write(isJson ? `${JSON.stringify({ ...totals, counts, isSound })}\n` : summary(totals, counts));
  return isSound ? EXIT.CLEAN : EXIT.DAMAGED;
}

/** Yields the results of the check: by the running daemon, or by this process when no daemon serves the folder. */
async function* eventsOf(data: string): AsyncGenerator<VerifyEvent> {
  // Before anything is made beside the file or in the folder, which may be of another program.
  if (isFile(data)) {
    throw new StartupError(
      EXIT.USAGE,
      `${data} is a file, and verify checks data folders; check a database with the tools of that database`,
    );
  }
  const files = lmdbFiles(data);
  if (!mayHoldStore(files)) throw noStore(data);
  let lock: StoreLock;
  try {
    prepareDataFolder(data);
    lock = StoreLock.take(files, new Date(), reportTightened);
  } catch (error) {
    if (!(error instanceof StartupError && error.exitCode === EXIT.HELD)) throw startFailure(data, error);
    const [target] = readEndpoint(data);
    if (target === undefined) throw error;
    const remote = new RemoteMaintenance(target);
    try {
      yield* remote.verify();
    } finally {
      remote.close();
    }
    return;
  }
  try {
    yield* verifyEvents((listener) => checkFolder(data, listener));
  } finally {
    lock.release();
  }
}

/** Returns a finding as one line. A daemon of another version may report codes that this version does not list. */
export const findingText = ({
  code,
  runtimeId,
  record,
  text,
}: Omit<Finding, "code"> & { readonly code: string }): string => {
  const where = [runtimeId === undefined ? undefined : JSON.stringify(runtimeId), record].filter(Boolean).join(" ");
  return `${code.padEnd(21)}${where === "" ? "" : `${where}: `}${text}`;
};

function summary(totals: { damage: number; space: number; bytes: number }, counts: StoreCounts | undefined): string {
  const contents = describeCounts(counts, "not everything could be read");
  return `${contents}, ${mebibytes(totals.bytes)}: ${String(totals.damage)} damaged, ${String(totals.space)} harmless\n`;
}
