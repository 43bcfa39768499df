import { constants } from "node:fs";
import { copyFile, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import type { Finding } from "@bolthole/contract";
import { type Recount, repairManifests } from "@bolthole/core";
import { LmdbEngine, checkFolder } from "@bolthole/lmdb";
import { dataFolderOf, variableOf } from "../config.js";
import { EXIT, type ExitCode, StartupError, startFailure, withExitCode } from "../exit-code.js";
import { damagedRuntimesFile } from "../folder/damaged-runtimes.js";
import { flushFolder, isFile, prepareDataFolder } from "../folder/data-folder.js";
import { lmdbFiles, mayHoldStore, noStore } from "../folder/store-id.js";
import { reportTightened } from "../folder/private-files.js";
import { StoreLock } from "../folder/store-lock.js";
import { refusesRuntime } from "../known-damage.js";
import { counted } from "./quantity.js";
import { findingText } from "./verify.js";

interface RepairFlags {
  readonly data?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** Returns the command `bolthole repair`. */
export function repairCommand(): Command {
  return new Command("repair")
    .description("count the manifests of a damaged store again from the rows that are there; no daemon may be running")
    .option("--data <folder>", `data folder (${variableOf("data")})`)
    .option("--dry-run", "report what would be repaired, and repair nothing")
    .option("--json", "print one JSON object for each manifest and finding, and a summary object at the end")
    .action(async (flags: RepairFlags) => {
      const data = dataFolderOf(flags.data);
      process.exitCode = await withExitCode(() => repair(data, flags));
    });
}

async function repair(data: string, flags: RepairFlags): Promise<ExitCode> {
  if (isFile(data)) {
    const text = `${data} is a file, and repair works on data folders; the manifests of a database are derived from its rows`;
    throw new StartupError(EXIT.USAGE, text);
  }
  const files = lmdbFiles(data);
  if (!mayHoldStore(files)) throw noStore(data);
  let lock: StoreLock | undefined;
  try {
    prepareDataFolder(data);
    lock = StoreLock.take(files, new Date(), reportTightened);
    return await repairLocked(data, lock, flags);
  } catch (error) {
    throw startFailure(data, error);
  } finally {
    lock?.release();
  }
}

async function repairLocked(data: string, lock: StoreLock, { dryRun, json }: RepairFlags): Promise<ExitCode> {
  const report = new Report(json === true);
  const findings: Finding[] = [];
  await checkFolder(data, { onFinding: (finding) => findings.push(finding) });
  refuseBrokenPages(data, findings);
  const copy = findings.some(isOfManifest) && !dryRun ? await copyData(data) : undefined;
  const engine = await LmdbEngine.open(data, { check: { level: "quick", maxBytes: Infinity }, guard: lock.check });
  try {
    lock.adopt();
    await repairManifests(engine, {
      nowMs: Date.now(),
      dryRun: dryRun === true,
      onRecount: (recount) => {
        report.recount(recount);
      },
      onFinding: (finding) => {
        report.finding(finding);
      },
    });
    // All manifests match their rows now, so no runtime is refused any more.
    if (!dryRun) damagedRuntimesFile(data, engine.storeId).save([]);
  } finally {
    await engine.close();
  }
  return report.end(copy, dryRun === true);
}

/** LMDB may crash on broken pages, and rows that cannot be found cannot be counted. */
function refuseBrokenPages(data: string, findings: readonly Finding[]): void {
  const broken = findings.find(({ code }) => code === "pages-damaged" || code === "check-crashed");
  if (!broken) return;
  throw new StartupError(
    EXIT.DAMAGED,
    `the store in ${data} cannot be repaired: ${broken.text} (${broken.code}); restore a backup`,
  );
}

const isOfManifest = (finding: Finding): boolean =>
  refusesRuntime(finding) || finding.code === "store-differs" || finding.record === "store manifest";

/** Copies the data file durably beside itself, and returns the path of the copy. */
async function copyData(data: string): Promise<string> {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const copy = join(data, `data.mdb.before-repair-${time}`);
  try {
    await copyFile(join(data, "data.mdb"), copy, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const file = await open(copy, "r");
    await file.sync().finally(() => file.close());
    flushFolder(data);
  } catch (error) {
    await rm(copy, { force: true });
    const text = `the data file could not be copied to ${copy}, so nothing was repaired: ${(error as Error).message}`;
    throw new StartupError(EXIT.DATA_FOLDER, text, error);
  }
  return copy;
}

/** Prints what was repaired and what stays damaged. */
class Report {
  private readonly totals = { recounted: 0, damaged: 0 };

  constructor(private readonly isJson: boolean) {}

  recount({ runtimeId, differences }: Recount): void {
    this.totals.recounted += 1;
    const name = runtimeId === undefined ? "store manifest" : `${JSON.stringify(runtimeId)} runtime manifest`;
    const text = `${"recounted".padEnd(21)}${name}: ${differences.join("; ")}`;
    this.print({ recounted: { runtimeId, differences } }, text);
  }

  finding(finding: Finding): void {
    this.totals.damaged += 1;
    this.print({ finding }, findingText(finding));
  }

  end(copy: string | undefined, isDryRun: boolean): ExitCode {
    const { recounted, damaged } = this.totals;
    const did = isDryRun ? "to be counted again" : "counted again";
    const left = counted(damaged, "record is damaged and stays as it is", "records are damaged and stay as they are");
    const text = [
      `${counted(recounted, "manifest")} ${did}; ${left}`,
      ...(copy === undefined ? [] : [`the data before the repair is in ${copy}`]),
    ].join("\n");
    this.print({ ...this.totals, dryRun: isDryRun, copy }, text);
    const isWhole = damaged === 0 && (recounted === 0 || !isDryRun);
    return isWhole ? EXIT.CLEAN : EXIT.DAMAGED;
  }

  private print(value: object, text: string): void {
    process.stdout.write(`${this.isJson ? JSON.stringify(value) : text}\n`);
  }
}
