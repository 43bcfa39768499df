import { existsSync, statSync } from "node:fs";
import { Command } from "commander";
import { type Finding, type StoreCounts, type VerifyEvent, isDamageFinding } from "@bolthole/contract";
import { verifyEvents } from "@bolthole/core";
import { checkFolder } from "@bolthole/lmdb";
import { defaultDataFolder, variableOf } from "../config.js";
import { EXIT, StartupError } from "../exit-code.js";
import { findHome, prepareDataFolder } from "../folder/data-folder.js";
import { readEndpoint } from "../folder/endpoint.js";
import { lockFolder } from "../folder/folder-lock.js";
import { ByteProgress, mebibytes } from "./byte-progress.js";
import { RemoteCare } from "./remote-care.js";
import { told } from "./told.js";

interface VerifyFlags {
  readonly data?: string;
  readonly json?: true;
}

/** `bolthole verify`: reads everything that is stored, and names what is not as it was written. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description("read everything that is stored, running or not, and name what is not as it was written")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--json", "print one JSON object for each finding, and one at the end")
    .action(async (flags: VerifyFlags) => {
      const data = flags.data ?? process.env[variableOf("data")] ?? defaultDataFolder();
      process.exitCode = await told(() => report(data, flags.json === true));
    });
}

async function report(data: string, isJson: boolean): Promise<number> {
  const progress = new ByteProgress();
  const found = { damage: 0, space: 0, bytes: 0 };
  let counts: StoreCounts | undefined;
  try {
    for await (const event of eventsOf(data)) {
      if ("finding" in event) {
        found[isDamageFinding(event.finding) ? "damage" : "space"] += 1;
        process.stdout.write(isJson ? `${JSON.stringify(event.finding)}\n` : `${findingText(event.finding)}\n`);
      } else if ("bytesRead" in event) {
        found.bytes += event.bytesRead;
        progress.add(event.bytesRead);
      } else {
        counts = event.counts;
      }
    }
  } finally {
    progress.stop();
  }
  const isSound = counts !== undefined && found.damage === 0;
  process.stdout.write(isJson ? `${JSON.stringify({ ...found, counts, isSound })}\n` : summary(found, counts));
  return isSound ? EXIT.CLEAN : EXIT.DAMAGED;
}

/** Of the running daemon, or of the folder when there is none. */
async function* eventsOf(data: string): AsyncGenerator<VerifyEvent> {
  if (!existsSync(data)) throw new StartupError(EXIT.DATA_FOLDER, `there is no store at ${data}`);
  const home = findHome(data);
  const [target] = readEndpoint(home);
  let unlock: () => unknown;
  try {
    prepareDataFolder(home);
    unlock = lockFolder(home, new Date());
  } catch (error) {
    if (!(error instanceof StartupError && error.exitCode === EXIT.HELD) || target === undefined) throw error;
    const care = new RemoteCare(target);
    try {
      yield* care.verify();
    } finally {
      care.close();
    }
    return;
  }
  try {
    if (statSync(data).isFile()) {
      throw new StartupError(EXIT.USAGE, `${data} is a database of its own kind: check it with SQLite's tools`);
    }
    yield* verifyEvents((listener) => checkFolder(data, listener));
  } finally {
    await unlock();
  }
}

/** Also of a daemon of another version, which may know other codes. */
export const findingText = ({
  code,
  runtimeId,
  record,
  text,
}: Omit<Finding, "code"> & { readonly code: string }): string => {
  const where = [runtimeId === undefined ? undefined : JSON.stringify(runtimeId), record].filter(Boolean).join(" ");
  return `${code.padEnd(21)}${where === "" ? "" : `${where}: `}${text}`;
};

function summary(found: { damage: number; space: number; bytes: number }, counts: StoreCounts | undefined): string {
  const read = counts
    ? `${String(counts.runtimes)} runtimes, ${String(counts.rows)} records, ${String(counts.outcomes)} request outcomes`
    : "not everything could be read";
  return `${read}, ${mebibytes(found.bytes)}: ${String(found.damage)} damaged, ${String(found.space)} harmless\n`;
}
